"""What a work dir holds of its run: checkpoints, a note of the newest, which run it is."""

import json
import re
from pathlib import Path
from typing import List, Optional, Union

from cdc_mm.atomic import write_atomically

_POINTER = 'last_checkpoint'
_RUN = 'run.json'
# What CheckpointHook, CollapseWatchHook and detectron2 write.
_NAMES = re.compile(r'((epoch|iter)_\d+|best_.*|healthy|model_(\d+|final))\.pth')


def list_checkpoints(work_dir: Union[str, Path]) -> List[Path]:
    """The checkpoints that a training wrote into its work dir, by name; the newest by any name."""
    newest = newest_checkpoint(work_dir)
    return sorted(
        path
        for path in Path(work_dir).glob('*.pth')
        if _NAMES.fullmatch(path.name) or str(path) == newest
    )


def newest_checkpoint(work_dir: Union[str, Path]) -> Optional[str]:
    """The checkpoint that was written last into a work dir; None if it has none.

    The note of it is relative to the work dir, so that a copy of the folder is a run of its own.
    One that is not, of mmengine or an older version, counts for a folder elsewhere only where
    the work dir itself has no file of that name.
    """
    note = Path(work_dir) / _POINTER
    if not note.is_file():
        return None
    path = Path(note.read_text(errors='replace').strip().replace('\0', ''))
    own = Path(work_dir) / path.name
    return str(own if path.is_absolute() and own.is_file() else Path(work_dir) / path)


def note_newest(work_dir: Union[str, Path], checkpoint: str) -> None:
    """Note which checkpoint is the newest, relative to the work dir where it lies below it.

    Raises:
        RunError: If it cannot be written.
    """
    path = Path(checkpoint)
    if path.is_relative_to(work_dir):
        path = path.relative_to(work_dir)
    write_atomically(Path(work_dir) / _POINTER, str(path), then='go on with --resume')


def remove_checkpoints(work_dir: Union[str, Path], checkpoints: List[Path]) -> None:
    """Remove checkpoints and the note of the newest."""
    (Path(work_dir) / _POINTER).unlink(missing_ok=True)
    for path in checkpoints:
        path.unlink(missing_ok=True)


def read_run(work_dir: Union[str, Path]) -> dict:
    """Which run a work dir is of: ``id`` and ``kind``; empty where that is not known."""
    try:
        run = json.loads((Path(work_dir) / _RUN).read_text())
    except (OSError, ValueError):
        return {}
    return run if isinstance(run, dict) else {}


def write_run(work_dir: Union[str, Path], run: dict) -> None:
    """Write what :func:`read_run` reads.

    Raises:
        RunError: If it cannot be written.
    """
    write_atomically(Path(work_dir) / _RUN, json.dumps(run))
