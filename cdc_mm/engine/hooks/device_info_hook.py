from typing import Optional

import numpy as np
from mmengine.hooks import RuntimeInfoHook
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.optim import OptimWrapperDict
from mmpretrain.registry import HOOKS
from torch import Tensor, stack

# Values of one figure that wait before they are fetched without having been asked for.
_MOST_WAITING = 1000


@HOOKS.register_module()
class DeviceInfoHook(RuntimeInfoHook):
    """Logs losses without waiting for the device: they are fetched when somebody looks at them.

    mmengine's ``RuntimeInfoHook`` asks for each loss of each iteration, and its optimiser wrapper
    for the norm of clipped gradients; a GPU is then idle until the next iteration is prepared. The
    logged values are the same. Config::

        default_hooks = dict(runtime_info=dict(type='DeviceInfoHook'))
    """

    def before_train(self, runner) -> None:
        """Keep the norm of clipped gradients on the device, too."""
        super().before_train(runner)
        wrapper = runner.optim_wrapper
        wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
        for one in wrappers:
            if one.clip_grad_kwargs and not isinstance(one.clip_func, _Clip):
                one.clip_func = _Clip(one.clip_func, one.message_hub, f'train/{one.grad_name}')

    def after_train_iter(
        self, runner, batch_idx: int, data_batch=None, outputs: Optional[dict] = None
    ) -> None:
        """Note the figures of an iteration."""
        for name, value in (outputs or {}).items():
            note(runner.message_hub, f'train/{name}', value)


class DeviceHistory(HistoryBuffer):
    """History of a figure that takes scalar tensors and fetches them when it is read."""

    def __init__(self) -> None:
        self._waiting = []
        super().__init__()

    def update(self, value: Tensor, count: int = 1) -> None:
        """Append a value.

        Args:
            value (Tensor): A scalar.
            count (int): How many values it is the mean of. Defaults to 1.
        """
        self._waiting.append((value.detach(), count))
        if len(self._waiting) >= _MOST_WAITING:
            self._fetch()

    def _fetch(self) -> None:
        if self._waiting:
            values, counts = zip(*self._waiting, strict=True)
            self._waiting = []
            self._values = np.append(self._values, stack(values).tolist())[-self.max_length :]
            self._counts = np.append(self._counts, counts)[-self.max_length :]

    # What all methods of HistoryBuffer read.

    @property
    def _log_history(self) -> np.ndarray:
        self._fetch()
        return self._values

    @_log_history.setter
    def _log_history(self, values: np.ndarray) -> None:
        self._values = values

    @property
    def _count_history(self) -> np.ndarray:
        self._fetch()
        return self._counts

    @_count_history.setter
    def _count_history(self, counts: np.ndarray) -> None:
        self._counts = counts


class _Clip:
    """A function that clips gradients, whose result is noted and not returned.

    What is returned mmengine would fetch at once.
    """

    def __init__(self, clip, message_hub: MessageHub, key: str) -> None:
        self.clip, self.message_hub, self.key = clip, message_hub, key

    def __call__(self, params, **kwargs) -> None:
        norm = self.clip(params, **kwargs)
        if norm is not None:
            note(self.message_hub, self.key, norm)


def note(message_hub: MessageHub, key: str, value) -> None:
    """Add a value to a history; that of a tensor is fetched when it is looked at.

    Args:
        message_hub (MessageHub): Has the histories.
        key (str): The name of the history.
        value (Tensor | float): A number, or a tensor of one value.
    """
    if not isinstance(value, Tensor):
        message_hub.update_scalar(key, value)
        return
    history = message_hub.log_scalars.get(key)
    if not isinstance(history, DeviceHistory):
        history = message_hub.log_scalars[key] = DeviceHistory()
    history.update(value.reshape(()))
