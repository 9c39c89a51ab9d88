import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Union

import mmengine

from .errors import RunError

_FORMATS = ('json', 'yaml', 'yml', 'pkl', 'pickle')  # of mmengine.dump


def write_atomically(
    path: Union[str, Path],
    content: Union[bytes, str],
    then: str = 'the same command again goes on',
) -> None:
    """Write a file so that it is either the old or the whole new one.

    Whatever ends the process, the power included, a file under its own name is complete: new
    content goes to ``<name>.tmp`` and reaches the disk before it takes the name.

    Args:
        path (str | Path): The file; its folder is made when missing.
        content (bytes | str): All of it; text is written as UTF-8. Names of files that are not
            valid UTF-8 come out as the bytes that they are.
        then (str): For the error: how to go on when there is room again.

    Raises:
        RunError: If the disk is full or the folder cannot be written to. What was there stays.
    """
    path = Path(path)
    data = content.encode('utf-8', 'surrogateescape') if isinstance(content, str) else content
    unfinished = path.with_name(f'{path.name}.tmp')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open('wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink()
        raise RunError(
            f'could not write {path} ({len(data) / 1e6:.1f} MB): {error.strerror}. What was saved '
            f'before is complete: make room or the folder writable, then {then}.'
        ) from error


def check_output(path: Union[str, Path], name: str = '--out', as_object: bool = False) -> None:
    """Make the folder of a file that will be written, or say that it cannot be.

    Args:
        path (str | Path): The file.
        name (str): What the user gave it as. Defaults to ``--out``.
        as_object (bool): Whether :func:`dump_atomically` will write it. Defaults to False.

    Raises:
        ValueError: If it cannot be written to, or its format is not known.
    """
    path = Path(path)
    if as_object and path.suffix[1:] not in _FORMATS:
        raise ValueError(f'{name} {path}: the name must end with .{", .".join(_FORMATS)}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        if path.is_dir():
            raise IsADirectoryError(21, 'it is a folder')
    except OSError as error:
        raise ValueError(f'{name} {path} cannot be written to: {error.strerror}') from error


def dump_atomically(path: Union[str, Path], obj: Any, **kwargs) -> None:
    """Write an object in the format that the name ends with; see :func:`write_atomically`.

    Args:
        path (str | Path): The file, ``.json``, ``.yaml`` or ``.pkl``.
        obj (any): What :func:`mmengine.dump` takes.
        kwargs: As of the format, such as ``indent``.

    Raises:
        RunError: If it cannot be written.
        TypeError: If the format is not known.
    """
    file_format = Path(path).suffix[1:]
    write_atomically(path, mmengine.dump(obj, file_format=file_format, **kwargs))
