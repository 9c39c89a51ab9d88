import ctypes
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import IO, Callable, Dict, Iterator, List, Optional

from mmengine.dist import all_gather_object, get_world_size
from torch.distributed import distributed_c10d

from .errors import RunError

_PR_SET_PDEATHSIG = 1
_shared = itertools.count()  # the same on all ranks, which share errors in the same order


class _OtherRankError(Exception):
    """Ends the work of this rank, as another has failed."""


@contextmanager
def sharing_errors() -> Iterator[Callable[[], None]]:
    """Let an error on one rank end what all ranks do together on each of them.

    Else the others would wait for the one that is gone. Work in it must not wait for other ranks;
    all of them enter and leave it, at which they wait for each other.

    Yields:
        Callable: To be called in the midst of long work: ends it if another rank has failed.

    Raises:
        RunError: On a rank that has not failed itself, with the message of the one that has.
    """
    size = get_world_size()
    if size == 1:
        yield lambda: None
        return
    store, key = distributed_c10d._get_default_store(), f'cdc_mm_failed_{next(_shared)}'

    def check() -> None:
        if store.check([key]):
            raise _OtherRankError

    failure: Optional[Exception] = None
    try:
        yield check
    except Exception as error:  # whatever it is, the others must know
        failure = error
    own = failure is not None and not isinstance(failure, _OtherRankError)
    if own:
        store.set(key, '1')
    messages = all_gather_object(_told(failure) if own else None)
    if own:
        raise failure
    for message in messages:
        if message is not None:
            raise RunError(message)


def _told(error: Exception) -> str:
    known = isinstance(error, (RunError, ValueError))
    return str(error) if known else f'{type(error).__name__}: {error}'


def end_with_parent() -> None:
    """Let this process end, by SIGTERM, when the one that started it ends, however that ends.

    For what a driver starts: a training that outlives it would write into the work dir beside the
    one that is started next. On Linux the kernel does it, elsewhere a thread looks every second.
    """
    parent = os.getppid()
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended in between
            os.kill(os.getpid(), signal.SIGTERM)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def start_in_background(command: List[str], env: Dict[str, str], log: IO) -> subprocess.Popen:
    """Start a command that ends with this process and writes all that it says into a file."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=env,
        preexec_fn=end_with_parent,
    )
