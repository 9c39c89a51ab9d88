import hashlib
import json
import time
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Callable, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
from mmengine.dist import broadcast_object_list, get_rank, get_world_size, is_main_process

from cdc_mm.array_file import (
    ArrayWriter,
    check_array,
    find_sorted,
    locked,
    part_names,
    part_number,
    remove_array,
    remove_unfinished,
    writing_to,
)
from cdc_mm.atomic import write_atomically
from cdc_mm.errors import RunError
from cdc_mm.processes import sharing_errors

# A part is complete after so many images, bytes or seconds: what a killed run loses at most.
PART_IMAGES = 20_000
PART_BYTES = 256 << 20
PART_SECONDS = 300

ID_BYTES = 16
_ID = np.dtype(f'S{ID_BYTES}')


class Rows:
    """Rows of images that lie in several parts of a store, read where they are asked for.

    Takes numbers, slices and integer or boolean arrays, as an array does, and gives arrays; shape,
    dtype and length are an array's, and ``np.asarray`` reads all.

    Args:
        parts (Sequence[np.ndarray]): Memory maps (n, D) of one dtype.
        index (np.ndarray): Numbers of the rows (N,) in the parts one after the other.
    """

    ndim = 2

    def __init__(self, parts: Sequence[np.ndarray], index: np.ndarray) -> None:
        self._parts = list(parts)
        self._ends = np.cumsum([len(part) for part in parts])
        self._index = index
        self.shape = (len(index), parts[0].shape[1])
        self.dtype = parts[0].dtype

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, key: Union[int, slice, Sequence[int], np.ndarray]) -> np.ndarray:
        index = self._index[key]
        flat = np.atleast_1d(index)
        rows = np.empty((len(flat), self.shape[1]), self.dtype)
        part_of = np.searchsorted(self._ends, flat, side='right')
        for i in np.unique(part_of):
            here = part_of == i
            start = self._ends[i] - len(self._parts[i])
            rows[here] = self._parts[i][flat[here] - start]
        return rows if np.ndim(index) else rows[0]

    def __array__(self, dtype=None, copy: Optional[bool] = None) -> np.ndarray:
        if copy is False:
            raise ValueError('rows of several parts cannot be one array without a copy')
        return self[:].astype(dtype or self.dtype, copy=False)


class _Part(NamedTuple):
    """Attributes: rows (n, D), None if there are none; ids of the rows and of unreadable images."""

    rows: Optional[np.memmap]
    ids: np.ndarray
    unreadable: np.ndarray


class FeatureStore:
    """The rows of images for one way of making them, on disk.

    A folder of parts: ``part-0000.npy``, the rows of some images, and beside it a ``.json`` with
    the ids of these images, the shape and a checksum. Whatever order a data set has, an index into
    the parts gives its rows; so rows of images that are added become a further part, and sets of
    images that overlap share what they have in common. Images that could not be read have no row,
    and are remembered.

    A part takes its name when it is whole, and what a store reads it compares with the checksum: a
    part that is truncated, or was replaced, is named, removed and made anew. Nothing in a store is
    ever unpickled.

    On several ranks, all of them call each method, in the same order; the folder must be the same
    for all. Of several jobs one at a time writes; the others wait and find what it wrote.

    Args:
        root (str | Path): Where stores lie.
        label (str): How the name of the folder starts.
        settings (dict): All that the rows depend on besides the images; a digest of it is the rest
            of the name.
        dtype (str): ``float32`` or ``float16``, of the rows on disk. Defaults to ``float32``.

    Attributes:
        path (Path): The folder. It need not exist before something is written.

    Raises:
        ValueError: If ``dtype`` is neither.
    """

    def __init__(
        self, root: Union[str, Path], label: str, settings: dict, dtype: str = 'float32'
    ) -> None:
        if dtype not in ('float32', 'float16'):
            raise ValueError(f'dtype must be float32 or float16, got {dtype}')
        self.dtype = dtype
        self._settings = json.dumps(
            dict(settings, dtype=dtype), sort_keys=True, default=str, indent=1
        )
        digest = hashlib.sha256(self._settings.encode()).hexdigest()[:20]
        self.path = Path(root) / f'{label}_{dtype}_{digest}'
        self.refresh()

    def refresh(self) -> None:
        """Read anew which parts there are."""
        names = [None]
        with sharing_errors():
            if is_main_process():
                names = [self._good_parts()]
        broadcast_object_list(names)
        with sharing_errors():
            self._parts = [self._open(name) for name in names[0]]
        self._rows = [part.rows for part in self._parts if part.rows is not None]
        # Of an image with two rows, which only a mistake could make, one is as good as the other.
        ids = [part.ids for part in self._parts]
        self._ids, self._row_of = np.unique(
            np.concatenate([np.empty(0, _ID), *ids]), return_index=True
        )
        unreadable = [part.unreadable for part in self._parts]
        self._unreadable = np.unique(np.concatenate([np.empty(0, _ID), *unreadable]))

    def missing(self, ids: np.ndarray) -> np.ndarray:
        """Which images have neither a row nor been found unreadable.

        Args:
            ids (np.ndarray): Ids of the images; see :func:`scan_images`.

        Returns:
            np.ndarray: Their numbers, ascending; of images with the same id the first.
        """
        first = np.sort(np.unique(ids, return_index=True)[1])
        known = find_sorted(self._ids, ids[first]) >= 0
        known |= find_sorted(self._unreadable, ids[first]) >= 0
        return first[~known]

    def rows(self, ids: np.ndarray) -> Tuple[Union[np.memmap, Rows], np.ndarray]:
        """Rows of images.

        Args:
            ids (np.ndarray): Ids of N images, none of which is missing.

        Returns:
            tuple: Rows (M, D) of those that could be read, as a plain memory map where they follow
            each other in one part, else as :class:`Rows`; and their numbers among the N, shape
            (M,), ascending.

        Raises:
            RunError: If none could be read.
        """
        position = find_sorted(self._ids, ids)
        kept = np.flatnonzero(position >= 0)
        if len(kept) == 0:
            raise RunError('none of the images could be read')
        index = self._row_of[position[kept]]
        end = 0
        for part in self._rows:
            start, end = end, end + len(part)
            first = index[0]
            within = start <= first and first + len(index) <= end
            if within and np.array_equal(index, np.arange(first, first + len(index))):
                return part[first - start : first - start + len(index)], kept
        return Rows(self._rows, index), kept

    @contextmanager
    def adding(self) -> Iterator['_Writer']:
        """While rows are added: yields what writes them, and reads the parts anew at both ends.

        An error on one rank ends it on all.

        Raises:
            RunError: If the folder cannot be written to.
        """
        with ExitStack() as stack:
            with sharing_errors():
                stack.enter_context(self.locked())
            self.refresh()
            numbers = [None]
            with sharing_errors():
                if is_main_process():
                    numbers = [self._next_number()]
            broadcast_object_list(numbers)
            with sharing_errors() as check:
                number = numbers[0] + get_rank()
                writer = _Writer(self.path, self.dtype, number, get_world_size(), check)
                try:
                    yield writer
                    writer.finish_part()
                finally:
                    writer.discard()
            self.refresh()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """While one of several jobs writes into the folder; on ranks, the first holds the lock."""
        with locked(self.path) if is_main_process() else nullcontext():
            yield

    def _next_number(self) -> int:
        """The first free number of a part; what a killed run has left is removed."""
        write_atomically(self.path / 'settings.json', self._settings)
        remove_unfinished(self.path)
        return max(map(part_number, part_names(self.path)), default=-1) + 1

    def _good_parts(self) -> List[str]:
        """Names of the parts that are what they were written as; others are removed."""
        good, dims = [], None
        for name in part_names(self.path):
            try:
                count, width = _check_part(self.path / name, self.dtype)
                if count and width != (dims or width):
                    raise ValueError(f'its rows have {width} values, others {dims}')
            except (OSError, ValueError, KeyError, TypeError) as error:
                print(
                    f'{self.path / name}.npy is left out and its rows are made anew: {error}',
                    flush=True,
                )
                remove_array(self.path / name)
            else:
                good.append(name)
                dims = width or dims
        return good

    def _open(self, name: str) -> _Part:
        info = json.loads((self.path / f'{name}.json').read_text())
        rows = None
        if info['shape'][0]:
            rows = np.load(self.path / f'{name}.npy', mmap_mode='r', allow_pickle=False)
        return _Part(rows, _from_hex(info['ids']), _from_hex(info['unreadable']))


class _Writer:
    """Writes the parts of one rank, whose numbers are ``number``, ``number + step``, ...

    ``check`` is called with each batch, to end the work where there is no use in it any more.
    """

    def __init__(
        self, folder: Path, dtype: str, number: int, step: int, check: Callable[[], None]
    ) -> None:
        self._folder = folder
        self._dtype = dtype
        self._number = number
        self._step = step
        self._check = check
        self._start()

    def _start(self) -> None:
        self._path = self._folder / f'part-{self._number:04d}'
        self._array, self._ids, self._unreadable = None, [], []
        self._begin = time.monotonic()

    def add(self, ids: np.ndarray, rows: np.ndarray, unreadable: np.ndarray) -> None:
        """Add rows.

        Args:
            ids (np.ndarray): Ids of n images.
            rows (np.ndarray): Their rows (n, D).
            unreadable (np.ndarray): Ids of images without a row.

        Raises:
            RunError: If a value is not finite in the store's dtype, or the disk is full.
        """
        self._check()
        if len(rows):
            rows = _finite(rows, self._dtype)
            with writing_to(self._folder):
                if self._array is None:
                    self._array = ArrayWriter(self._path, self._dtype)
                self._array.append(rows)
            self._ids.append(ids)
        self._unreadable.append(unreadable)
        if (
            sum(map(len, self._ids + self._unreadable)) >= PART_IMAGES
            or (self._array is not None and self._array.num_bytes >= PART_BYTES)
            or time.monotonic() - self._begin >= PART_SECONDS
        ):
            self.finish_part()

    def finish_part(self) -> None:
        """Give the part its name, if there is anything in it."""
        if not any(map(len, self._ids + self._unreadable)):
            return
        info = {name: _to_hex(getattr(self, f'_{name}')) for name in ('ids', 'unreadable')}
        if self._array is None:
            info.update(shape=[0, 0])
            write_atomically(self._path.with_suffix('.json'), json.dumps(info))
        else:
            with writing_to(self._folder):
                self._array.finish(info)
        self._number += self._step
        self._start()

    def discard(self) -> None:
        """Remove what was written of a part that is not whole."""
        if self._array is not None:
            self._array.discard()


def read_rows(path: Union[str, Path]) -> Union[np.ndarray, Rows]:
    """Rows that lie on disk, whatever made them.

    Args:
        path (str | Path): A ``.npy`` file, or the folder of a store (:class:`FeatureStore`).

    Returns:
        np.ndarray | Rows: Of a file as it is, mapped; of a store (N, D), all that it holds, in the
        order that they were made in.

    Raises:
        ValueError: If it is neither, or damaged.
        FileNotFoundError: If it is not there.
    """
    path = Path(path)
    if not path.is_dir():
        try:
            return np.load(path, mmap_mode='r', allow_pickle=False)
        except (EOFError, ValueError) as error:
            raise ValueError(f'{path} is no array of numbers (.npy): {error}') from error
    parts = []
    for info_file in sorted(path.glob('part-*.json')):
        file = info_file.with_suffix('.npy')
        try:
            info = json.loads(info_file.read_text())
            if _check_part(info_file.with_suffix(''), info.get('dtype'))[0]:
                parts.append(np.load(file, mmap_mode='r', allow_pickle=False))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f'{file} is damaged ({error}): give the command that made it again'
            ) from error
    if not parts:
        raise ValueError(
            f'{path} holds no rows: name a .npy file or the folder of a store, which has part-*.npy'
        )
    return Rows(parts, np.arange(sum(map(len, parts))))


def _check_part(path: Path, dtype: str) -> Tuple[int, int]:
    """:func:`check_array` of a part, whose list of images must fit its rows."""
    shape = check_array(path, dtype)
    if len(_from_hex(json.loads(path.with_suffix('.json').read_text())['ids'])) != shape[0]:
        raise ValueError('its list of images does not fit its rows')
    return shape


def _finite(rows: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(over='ignore'):
        rows = np.ascontiguousarray(rows, dtype=dtype)
    if not np.isfinite(rows).all():
        raise RunError(
            f'features are not finite in {dtype}: '
            + ('use float32' if dtype == 'float16' else 'the network diverged')
        )
    return rows


def _to_hex(ids: List[np.ndarray]) -> str:
    return np.concatenate([np.empty(0, _ID), *ids]).tobytes().hex()


def _from_hex(text: str) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(text), _ID)
