import atexit
import errno
import json
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from typing import Iterator, Optional

from cdc_mm.console import wipe

# The disk is full or broken, or has become read-only.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG)


class RunError(RuntimeError):
    """What ends a run for a reason that its user can mend; the message says how."""


@contextmanager
def clear_errors() -> Iterator[None]:
    """End the program with one line for what a user can mend.

    Wraps the time before work starts: reading the config, building, opening data and checkpoints.
    ``CDC_MM_TRACEBACK=1`` shows the traceback. From here on, Ctrl-C ends with one line, too.
    """
    sys.excepthook = _excepthook
    if (
        signal.getsignal(signal.SIGINT) is signal.SIG_DFL
        and threading.current_thread() is threading.main_thread()
    ):
        signal.signal(signal.SIGINT, signal.default_int_handler)  # tools/early.py
    try:
        yield
    except (
        AssertionError, KeyError, ModuleNotFoundError, OSError, RuntimeError, TypeError, ValueError
    ) as error:  # fmt: skip
        if os.environ.get('CDC_MM_TRACEBACK'):
            raise
        message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
        if isinstance(error, FileNotFoundError) and error.filename:
            message = (
                f'{error.filename} does not exist. Put the data there or point data_root of the '
                'dataset (or the path you gave) to where it is.'
            )
        if 'EADDRINUSE' in message:
            message = (
                'the port of the job is taken, perhaps by another job. Set PORT (tools/dist_*.sh) '
                'or MASTER_PORT to one that is free.'
            )
        raise _one_line(message or type(error).__name__) from error


def _excepthook(kind, error, traceback) -> None:
    if not issubclass(kind, KeyboardInterrupt) or os.environ.get('CDC_MM_TRACEBACK'):
        sys.__excepthook__(kind, error, traceback)
        return
    wipe()
    if os.environ.get('RANK', '0') == '0':
        print('stopped by Ctrl-C; what was saved is complete (train: --resume)', file=sys.stderr)
    # Ended by the signal itself, as Python would: status 130 for a shell, which ends its loop, too.
    sys.stdout.flush()
    atexit._run_exitfuncs()  # data workers
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)


@contextmanager
def clear_run_errors() -> Iterator[None]:
    """End the program with one line for what stops a running job and its user can mend.

    Wraps the work itself: bad data, a data worker or another process that died, a full disk.
    Anything else is a mistake in the code and keeps its traceback; ``CDC_MM_TRACEBACK=1`` shows the
    others' too.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK or os.environ.get('CDC_MM_TRACEBACK'):
            raise
        where = f'{error.filename}: ' if error.filename else ''
        raise _one_line(
            f'could not write: {where}{error.strerror}. What was saved before is complete: make '
            'room or the folder writable, then go on with --resume.'
        ) from error
    except RuntimeError as error:
        message = _reason(str(error), isinstance(error, RunError))
        if message is None or os.environ.get('CDC_MM_TRACEBACK'):
            raise
        raise _one_line(message) from error
    finally:
        wipe()  # what follows starts on a line of its own


def _reason(text: str, known: bool) -> Optional[str]:
    if known:
        # From a data worker, torch hands on the whole traceback as text.
        return text.rsplit(f'{RunError.__name__}: ', 1)[-1].strip()
    if 'DataLoader worker (pid' in text:
        return (
            f'{text.strip().rstrip(".")}. The system kills workers when memory runs out: '
            'lower num_workers, batch_size or the size of the images.'
        )
    if 'DataLoader timed out' in text:
        return (
            f'{text.strip()}: a data worker hangs or the data are too slow. Raise the timeout of '
            'the dataloader if they are.'
        )
    if 'Connection closed by peer' in text or 'Connection reset by peer' in text:
        return (
            'another process of the job has ended. Its own message, or the log of the system if it '
            'was killed, as for want of memory, says why.'
        )
    if 'stack expects each tensor to be equal size' in text or 'that is not resizable' in text:
        return (
            'the images of a batch differ in size: add a transform that resizes or crops them to '
            'the pipeline of the dataset.'
        )
    return None


def hand_to_launcher(message: str) -> bool:
    """Leave why this rank fails to ``tools/launch.py``, which says it last and once for all ranks.

    Returns:
        bool: Whether it is there to do so; else it is for this process to print.
    """
    # torchrun reads it when the process has ended.
    file = os.environ.get('TORCHELASTIC_ERROR_FILE')
    if not file or not os.environ.get('CDC_MM_LAUNCHER'):
        return False
    try:
        with open(file, 'w', encoding='utf-8') as out:
            json.dump(dict(message=message, timestamp=int(time.time())), out)
    except OSError:
        return False
    return True


def _one_line(message: str) -> SystemExit:
    if hand_to_launcher(message):
        return SystemExit(1)
    return SystemExit(f'error: {message}\n(CDC_MM_TRACEBACK=1 shows where it was raised.)')
