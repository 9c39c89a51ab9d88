"""Trainings within a call, of which the program that made it is to notice nothing."""

from contextlib import contextmanager
from typing import Iterator

import torch
from mmengine.hooks import Hook
from mmengine.utils import ManagerMixin


class LossCurves(Hook):
    """Keeps the mean of each loss by epoch.

    Attributes:
        by_epoch (dict[str, list[float]]): Of each loss.
    """

    def __init__(self) -> None:
        self.by_epoch = {}
        self._sums = {}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Keep the losses of a step."""
        for name, value in (outputs or {}).items():
            if name.startswith('loss'):
                self._sums.setdefault(name, []).append(value.detach())

    def after_train_epoch(self, runner) -> None:
        """Take their means."""
        for name, values in self._sums.items():
            self.by_epoch.setdefault(name, []).append(float(torch.stack(values).mean()))
        self._sums = {}


@contextmanager
def without_traces() -> Iterator[None]:
    """Forget what mmengine keeps of a run, such as its logger with an open file.

    The next run within the same second would get it, with paths that are gone.
    """
    # Each class keeps its own instances by the second that they were made in.
    kinds = [kind for kind in _subclasses(ManagerMixin) if hasattr(kind, '_instance_dict')]
    before = [set(kind._instance_dict) for kind in kinds]
    try:
        yield
    finally:
        for kind, names in zip(kinds, before, strict=True):
            for name in set(kind._instance_dict) - names:
                instance = kind._instance_dict.pop(name)
                for handler in list(getattr(instance, 'handlers', ())):
                    handler.close()


def _subclasses(kind: type) -> Iterator[type]:
    for own in kind.__subclasses__():
        yield own
        yield from _subclasses(own)
