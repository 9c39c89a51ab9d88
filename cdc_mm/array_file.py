"""Arrays on disk with a checksum beside them, and folders that one process at a time adds to."""

import fcntl
import json
import os
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Iterator, List, Sequence, Tuple

import numpy as np

from .atomic import write_atomically
from .errors import RunError


class ArrayWriter:
    """Writes rows as they come to a ``.npy`` file with a checksum beside it.

    Args:
        path (Path): Both files, without the suffix.
        dtype (str): Of the array on disk.
    """

    def __init__(self, path: Path, dtype: str) -> None:
        self._path = path
        self._dtype = np.dtype(dtype)
        self._unfinished = path.with_suffix('.npy.tmp')
        self._file = self._unfinished.open('wb')  # closed by finish() or discard()
        self._shape = None
        self._sum = 0
        self.num_bytes = 0

    def append(self, rows: np.ndarray) -> None:
        """Add rows (n, D), the same D each time."""
        rows = np.ascontiguousarray(rows, self._dtype)
        if self._shape is None:
            self._shape = [0, rows.shape[1]]
            _write_header(self._file, self._dtype, self._shape)
        self._file.write(rows)
        self._sum = zlib.crc32(rows, self._sum)
        self._shape[0] += len(rows)
        self.num_bytes += rows.nbytes

    def finish(self, info: dict) -> None:
        """Give both files their names; ``info`` is kept in the description."""
        # Headers leave room for any number of rows.
        self._file.seek(0)
        _write_header(self._file, self._dtype, self._shape)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._unfinished, self._path.with_suffix('.npy'))
        info = dict(info, shape=self._shape, dtype=self._dtype.name, crc32=self._sum)
        write_atomically(self._path.with_suffix('.json'), json.dumps(info))

    def discard(self) -> None:
        """Remove the unfinished file."""
        self._file.close()
        self._unfinished.unlink(missing_ok=True)


def check_array(path: Path, dtype: str) -> Tuple[int, int]:
    """Compare a ``.npy`` file with what the description beside it says.

    Args:
        path (Path): Both files, without the suffix.
        dtype (str): What the rows must be.

    Returns:
        tuple: Its shape; without rows there need be no file.

    Raises:
        ValueError: If it is not the array that was written.
        KeyError: If something is missing in the description.
        TypeError: If the description holds something else.
        OSError: If one of them cannot be read.
    """
    info = json.loads(path.with_suffix('.json').read_text())
    count, dims = info['shape']
    if count == 0:
        return count, dims
    with open(path.with_suffix('.npy'), 'rb') as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError('it is no array of version 1.0')
        shape, _, found = np.lib.format.read_array_header_1_0(file)
        if shape != (count, dims) or found != np.dtype(dtype) or info['dtype'] != dtype:
            raise ValueError(f'it holds {shape} {found}, not {(count, dims)} {dtype}')
        total, size = 0, 0
        # Read, not mapped: what is mapped counts as memory of the process.
        while chunk := file.read(1 << 22):
            total = zlib.crc32(chunk, total)
            size += len(chunk)
    if size != count * dims * found.itemsize or total != info['crc32']:
        raise ValueError('its checksum is not the one that was written')
    return count, dims


def remove_array(path: Path) -> None:
    """Remove both files, as far as that is allowed."""
    for suffix in ('.json', '.npy'):
        with suppress(OSError):
            path.with_suffix(suffix).unlink()


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Say what can be done where a file of a folder cannot be written."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f'could not write to {folder}: {error.strerror}. What is complete stays: make room or '
            'the folder writable, then the same command again goes on.'
        ) from error


def find_sorted(table: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Positions of keys in a sorted table, -1 for those that are not there."""
    if len(table) == 0:
        return np.full(len(keys), -1)
    position = np.minimum(np.searchsorted(table, keys), len(table) - 1)
    return np.where(table[position] == keys, position, -1)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """While one of several jobs writes into a folder, which is made when missing.

    Raises:
        RunError: If it cannot be written to.
    """
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / 'lock', os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f'another process adds to {folder}: waiting for it', flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        # Closing alone would leave it to a data worker that has inherited the file.
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_UN)
        os.close(lock)


def part_names(folder: Path) -> List[str]:
    """Names of the complete parts in a folder, ``part-0000`` and so on, by their number."""
    names = [path.stem for path in folder.glob('part-*.json')]
    return sorted((name for name in names if _number(name).isdecimal()), key=part_number)


def part_number(name: str) -> int:
    """The number in the name of a part."""
    return int(_number(name))


def _number(name: str) -> str:
    return name.removeprefix('part-')


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed run has left: files without their name, arrays without description."""
    for path in folder.glob('*.tmp'):
        path.unlink()
    for path in folder.glob('part-*.npy'):
        if not path.with_suffix('.json').is_file():
            path.unlink()


def _write_header(file: BinaryIO, dtype: np.dtype, shape: Sequence[int]) -> None:
    header = dict(descr=dtype.str, fortran_order=False, shape=tuple(shape))
    np.lib.format.write_array_header_1_0(file, header)
