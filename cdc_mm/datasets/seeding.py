import random
from contextlib import contextmanager
from typing import Iterator, Optional, Sequence

import numpy as np
import torch
from mmengine.device import get_device


def seed_all(entropy: Sequence[Optional[int]]) -> None:
    """Seed the generators of Python, NumPy and torch by several numbers; None counts as 0."""
    seed = int(np.random.SeedSequence([number or 0 for number in entropy]).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    if get_device() == 'cpu':
        # torch.manual_seed would note a stack trace for a GPU that may yet come: 1 ms a step.
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


@contextmanager
def unchanged_random() -> Iterator[None]:
    """The generators of Python, NumPy and torch's CPU go on as if none were drawn meanwhile."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


@contextmanager
def seeded(entropy: Sequence[Optional[int]]) -> Iterator[None]:
    """Random numbers that follow from ``entropy``; the generators go on as if none were drawn."""
    with unchanged_random():
        seed_all(entropy)
        yield
