"""Work in processes that wait for their turns, so that each has an allocator of its own."""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from typing import Callable, Dict, Iterator, List, TextIO

import torch


class Process:
    """A script in a process of its own: it does its work once for each line that it reads.

    Then it prints the seconds of processors that it took, which ``cpu_seconds`` keeps.
    """

    def __init__(self, arguments: List[str], errors: TextIO) -> None:
        self.cpu_seconds: List[float] = []
        self.errors = errors
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
        )  # fmt: skip

    def __call__(self) -> None:
        """Its work once more."""
        print(file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            raise RuntimeError(f'{self.process.args} ended:\n{self.errors.read()[-2000:]}')
        self.cpu_seconds.append(float(line))


@contextlib.contextmanager
def processes(commands: Dict[str, List[str]]) -> Iterator[Dict[str, Process]]:
    """Scripts that wait for their turns, each with an allocator of its own."""
    with contextlib.ExitStack() as stack:
        sides = {}
        for name, arguments in commands.items():
            errors = stack.enter_context(tempfile.TemporaryFile('w+'))
            sides[name] = Process(arguments, errors)
            stack.enter_context(sides[name].process)
        yield sides


def begin(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Take what all scripts do, and set threads and allocator by it."""
    parser.add_argument('--kept', action='store_true', help='freed memory is kept')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--device', default='cpu')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.kept:
        from cdc_mm.memory import keep_freed_memory  # others do without the package

        keep_freed_memory()
    return args


def serve(work: Callable) -> None:
    """The other end of a :class:`Process`."""
    for _ in sys.stdin:
        before = _cpu_seconds()
        with contextlib.redirect_stdout(sys.stderr):
            work()
        print(_cpu_seconds() - before, flush=True)


def _cpu_seconds() -> float:
    """Of this process and of those that it has waited for."""
    return time.process_time() + sum(os.times()[2:4])
