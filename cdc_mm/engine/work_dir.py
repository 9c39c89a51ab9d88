"""One training at a time in a work dir, and never one over another."""

import fcntl
import os
import socket
import tempfile
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Dict, Iterator, List, Union

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from cdc_mm.checkpoints import (
    list_checkpoints,
    read_meta,
    read_run,
    remove_checkpoints,
    write_run,
)
from cdc_mm.console import say

_held: Dict[Path, IO] = {}
_RANKS = dict(pytorch='RANK', slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK')


@dataclass
class Claim:
    """The right to train in a work dir, see :func:`claim_work_dir`.

    Args:
        work_dir (str): The folder.
        run (dict): What its ``run.json`` will say; empty on other ranks than the first.
        outdated (list): Checkpoints that are removed when the training begins.
    """

    work_dir: str
    run: dict = field(default_factory=dict)
    outdated: List[Path] = field(default_factory=list)

    def hand_to(self, runner: Runner) -> None:
        """Let the work dir become that of this run when its first iteration is about to begin.

        Until then the run may still be refused, and what an earlier one saved stays.
        """
        runner.register_hook(_Begin(self))

    def begin(self) -> None:
        """Remove what is outdated and write which run this is.

        Raises:
            RunError: If the work dir cannot be written to.
        """
        if self.outdated:
            say(f'{self.work_dir}: removing {_names(self.outdated)} of the run before')
            remove_checkpoints(self.work_dir, self.outdated)
        if self.run and self.run != read_run(self.work_dir):
            write_run(self.work_dir, self.run)


class _Begin(Hook):
    priority = 'LOWEST'  # after a checkpoint has been saved on trial

    def __init__(self, claim: Claim) -> None:
        self.claim = claim

    def before_train(self, runner: Runner) -> None:
        self.claim.begin()


def claim_work_dir(
    cfg: Config, overwrite: bool = False, kind: str = 'training', flag: str = '--work-dir'
) -> Claim:
    """Lock the work dir of a training, and refuse to mix it with what an earlier one saved there.

    The lock holds until the process ends, however it ends. The first rank holds it for all.

    Args:
        cfg (Config): A full config, before its runner is built, which would write into the folder.
        overwrite (bool): Whether checkpoints that are in the way may be removed, when the training
            begins. Defaults to False.
        kind (str): Who trains, for :func:`cdc_mm.checkpoints.read_run`. Defaults to ``training``.
        flag (str): What the tool calls the folder. Defaults to ``--work-dir``.

    Returns:
        Claim: Its ``hand_to(runner)`` is to be called before ``runner.train()``; without a runner,
        its ``begin()`` when nothing can refuse the training any more.

    Raises:
        ValueError: If the work dir cannot be written to, if a training is running in it, or if
            checkpoints of another run, or later ones than that to resume from, lie there.
    """
    work_dir = cfg.work_dir
    check_work_dir(work_dir, flag)
    claim = Claim(work_dir)
    if not _is_first_rank(cfg):
        return claim
    lock_work_dir(work_dir, flag)
    there, run = list_checkpoints(work_dir), read_run(work_dir)
    source = cfg.get('load_from')
    new = dict(id=uuid.uuid4().hex, kind=kind)
    if cfg.get('resume') and source is None:
        claim.run = run or new
        return claim
    own = source is not None and any(_same_file(source, path) for path in there)
    if cfg.get('resume') and own:
        claim.run = run or new
        claim.outdated = _later(there, source)
        way = f'{source} is to be resumed from, and later checkpoints lie beside it'
    else:
        claim.run, claim.outdated = new, there
        way = f'{work_dir} holds the checkpoints of another run'
        if own and overwrite:
            raise ValueError(
                f'load_from={source} lies in the work dir {work_dir}, which --overwrite would '
                f'clear. Choose another {flag}.'
            )
    if claim.outdated and not overwrite:
        raise ValueError(
            f'{way} ({_names(claim.outdated)}). Add --resume to go on from the latest, choose '
            f'another {flag}, or add --overwrite to remove them.'
        )
    return claim


def check_work_dir(path: str, flag: str = '--work-dir') -> None:
    """Make a work dir, which the tool calls ``flag``.

    Raises:
        ValueError: If it cannot be written to.
    """
    try:
        os.makedirs(path, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise ValueError(
            f'the work dir {path} cannot be written to: {error.strerror}. Choose another with '
            f'{flag}.'
        ) from error


def _is_first_rank(cfg: Config) -> bool:
    # Before torch.distributed is there.
    return int(os.environ.get(_RANKS.get(cfg.get('launcher', 'none'), ''), 0)) == 0


def _later(checkpoints: List[Path], source: str) -> List[Path]:
    reached = read_meta(source).get('iter', 0)
    return [
        path
        for path in checkpoints
        if not _same_file(source, path) and _progress(path, default=reached) > reached
    ]


def _progress(path: Path, default: int) -> int:
    try:
        return read_meta(str(path)).get('iter', default)
    except ValueError:  # a damaged one is passed over by --resume
        return default


def _same_file(source: str, path: Path) -> bool:
    return os.path.exists(source) and os.path.samefile(source, path)


def _names(paths: List[Path]) -> str:
    names = [path.name for path in paths]
    return ', '.join(names[:3]) + (f' and {len(names) - 3} more' if len(names) > 3 else '')


def lock_work_dir(work_dir: str, flag: str = '--work-dir') -> None:
    """Hold the lock of a work dir until this process ends.

    Raises:
        ValueError: If another process holds it.
    """
    path = Path(work_dir).resolve() / '.lock'
    if path in _held:
        return
    file = path.open('a+')
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:  # the latter on some NFS
        file.seek(0)
        holder = file.read().strip() or 'another process'
        file.close()
        raise ValueError(
            f'a training is running in {work_dir}: {holder}. Wait until it ends, end it, or choose '
            f'another {flag}.'
        ) from error
    except OSError as error:
        say(f'warning: {work_dir} cannot be locked ({error.strerror}): start no second run in it.')
    file.truncate(0)
    file.write(f'process {os.getpid()} on {socket.gethostname()}, since {time.ctime()}\n')
    file.flush()
    _held[path] = file


@contextmanager
def holding(work_dir: Union[str, Path], flag: str) -> Iterator[None]:
    """Hold the lock of a folder meanwhile, see :func:`lock_work_dir`."""
    path = Path(work_dir).resolve() / '.lock'
    held = path in _held
    lock_work_dir(str(work_dir), flag)
    try:
        yield
    finally:
        if not held and path in _held:
            _held.pop(path).close()


def _leave_to_parent() -> None:
    # A data worker that outlives the training for a moment must not hold its lock.
    for file in _held.values():
        file.close()
    _held.clear()


os.register_at_fork(after_in_child=_leave_to_parent)
