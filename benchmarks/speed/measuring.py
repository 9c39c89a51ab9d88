"""Times and counts of one thing beside those of another."""

import time
from statistics import median
from typing import Callable, Dict, List, NamedTuple, Optional

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

WAITS = ('aten._local_scalar_dense', 'aten.nonzero', 'aten.masked_select')


class Settings(NamedTuple):
    """How large and where."""

    quick: bool
    device: str
    threads: int

    def pick(self, usual, quick):
        """One of two values."""
        return quick if self.quick else usual


class Row(NamedTuple):
    """A line of the table; ``ratio`` is the candidate's time (or memory) over the reference's."""

    what: str
    candidate: str
    reference: str
    ratio: Optional[float]
    limit: Optional[float] = None
    note: str = ''


def wait(device: str) -> None:
    if device != 'cpu':
        torch.accelerator.synchronize()


def alternate(
    functions: Dict[str, Callable], rounds: int, device: str = 'cpu'
) -> Dict[str, List[float]]:
    """Seconds of each function, called in turn, after a call of each that does not count."""
    seconds = {name: [] for name in functions}
    for number in range(rounds + 1):
        # The order turns, so that nothing always comes after the same.
        names = list(functions)[:: 1 if number % 2 else -1]
        for name in names:
            wait(device)
            start = time.perf_counter()
            functions[name]()
            wait(device)
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(candidate: List[float], reference: List[float]) -> float:
    """Median of the ratios of calls that came one after the other."""
    return median(a / b for a, b in zip(candidate, reference, strict=True))


class Counter(TorchDispatchMode):
    """Counts the calls of operators, and those that make the host wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = self.waits = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls += func.namespace != 'profiler'  # which only marks where a step begins
        self.waits += str(func.overloadpacket) in WAITS
        return func(*args, **(kwargs or {}))


def counted(function: Callable) -> str:
    """Calls and waits of a function, in words."""
    with Counter() as counter:
        function()
    return f'{counter.calls:,} calls, {counter.waits} waits'


def peak_memory(function: Callable, device: str = 'cpu') -> int:
    """Bytes of tensors that a function holds at most beyond those that were there."""
    function()
    if device != 'cpu':
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        function()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        function()
    held = most = 0
    events = [
        event for event in seen.profiler.kineto_results.events() if event.name() == '[memory]'
    ]
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most
