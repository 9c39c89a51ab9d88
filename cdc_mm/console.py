"""The console: lines that stay and, on a terminal, one line below them that is redrawn."""

import io
import os
import shutil
import sys
import time
import warnings
from contextlib import contextmanager, redirect_stdout
from datetime import timedelta
from typing import Iterable, Iterator, Optional, TextIO, Tuple

_WIDTH = 10  # of a bar
_APPEAR_SECONDS, _REDRAW_SECONDS = 0.5, 0.1
_FIRST_SECONDS, _NEXT_SECONDS = 10, 30

_WARNINGS_OF_NO_USE = (
    # The recipes ask for as many workers as a machine with GPUs has cores.
    'This DataLoader will create',
    # On each rank.
    'Setting (OMP|MKL)_NUM_THREADS environment variable',
    # mmengine's own arguments, and its schedulers' count of the step before the first one.
    '`broadcast_buffers` is deprecated',
    'Detected call of `lr_scheduler.step',
    # mmpretrain reads the files of Fashion-MNIST so, and only looks at them.
    'The given NumPy array is not writable',
)

_quiet = False  # whether nothing is shown
_redrawn = False  # whether the last line of the terminal is one to redraw


def is_verbose() -> bool:
    """Whether ``CDC_MM_VERBOSE=1`` asks for the whole log on the console, as mmengine prints it."""
    return os.environ.get('CDC_MM_VERBOSE', '0') not in ('', '0')


def silence() -> None:
    """Keep Python's warnings that nobody can act on off the console, unless it is verbose."""
    if not is_verbose():
        for message in _WARNINGS_OF_NO_USE:
            warnings.filterwarnings('ignore', message=message)


@contextmanager
def quiet(on: bool = True) -> Iterator[None]:
    """Show nothing meanwhile, neither lines nor progress."""
    global _quiet
    before, _quiet = _quiet, on or _quiet
    try:
        yield
    finally:
        _quiet = before


def is_terminal() -> bool:
    """Whether lines can be redrawn."""
    return sys.stdout.isatty() and os.environ.get('TERM') != 'dumb'


def say(text: str) -> None:
    """Print a line, with the time of day, above the one that is redrawn."""
    if _quiet:
        return
    wipe()
    print(f'{time.strftime("%H:%M:%S")}  {text}', flush=True)


def wipe() -> None:
    """Take away the line that is redrawn, if there is one."""
    global _redrawn
    if _redrawn:
        print('\r\x1b[K', end='', flush=True)
        _redrawn = False


@contextmanager
def without_lines(*starts: str) -> Iterator[None]:
    """Leave out what a library prints if it starts with one of these texts."""
    with redirect_stdout(_Sieve(sys.stdout, starts)):
        yield


class _Sieve(io.TextIOBase):
    def __init__(self, stream: TextIO, starts: Tuple[str, ...]) -> None:
        self._stream = stream
        self._starts = starts
        self._dropped = False

    def write(self, text: str) -> int:
        end = self._dropped and text == '\n'  # `print` writes the end of a line apart
        self._dropped = text.startswith(self._starts)
        return len(text) if end or self._dropped else self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()


def _redraw(text: str) -> None:
    global _redrawn
    if _quiet:
        return
    columns = shutil.get_terminal_size().columns
    print(f'\r\x1b[K{text[: columns - 1]}', end='', flush=True)
    _redrawn = True


class Meter:
    """Shows how far a piece of work is and how long it will take.

    On a terminal as a bar, elsewhere as a line after 10 seconds and then every 30, so that short
    work says nothing.

    Args:
        total (int): Steps of the work.
        done (int): Steps that were done before. Defaults to 0.
    """

    def __init__(self, total: int, done: int = 0) -> None:
        self.total = total
        self._before = done
        self._start = time.monotonic()
        self._due = self._start + (_APPEAR_SECONDS if is_terminal() else _FIRST_SECONDS)

    @property
    def due(self) -> bool:
        """Whether it is time to show something."""
        return time.monotonic() >= self._due

    def show(self, done: int, what: str, figures: str = '') -> None:
        """Show the state, whether or not it is due.

        Args:
            done (int): Steps done.
            what (str): Name of the work and place in it.
            figures (str): What else there is to say.
        """
        now = time.monotonic()
        share = done / self.total
        left = (now - self._start) / max(done - self._before, 1) * (self.total - done)
        left = f'{timedelta(seconds=round(left))} left'
        if is_terminal():
            self._due = now + _REDRAW_SECONDS
            bar = '#' * round(_WIDTH * share)
            _redraw(f'{what} [{bar:-<{_WIDTH}}] {left}  {figures}')
        else:
            self._due = now + _NEXT_SECONDS
            say(f'{what} ({share:.0%}, {left}){": " * bool(figures)}{figures}')


def track(items: Iterable, what: str, total: Optional[int] = None) -> Iterator:
    """Pass on the items and show how far they are.

    Args:
        items (Iterable): What to go through.
        what (str): Name of the work.
        total (int, optional): Their number, if ``len(items)`` does not say it.
    """
    meter = Meter(len(items) if total is None else total)
    for done, item in enumerate(items):
        if meter.due:
            meter.show(done, what)
        yield item
    wipe()
