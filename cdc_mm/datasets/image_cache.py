import hashlib
import json
import os
from collections import OrderedDict
from pathlib import Path
from typing import Dict, Iterable, NamedTuple, Optional, Union

import numpy as np

from cdc_mm.array_file import find_sorted
from cdc_mm.atomic import write_atomically
from cdc_mm.errors import RunError

REMEDY = 'run tools/build_cache.py {folder} --out {root} again, which adds what is missing'
_SETTINGS, _INDEX, _FORMAT = 'cache.json', 'index', 1
_DIGEST = np.dtype('S16')
# Where an image lies. Of a faulty one, the part is -1 and the place that of its reason in the text.
ENTRY = np.dtype([('offset', '<i8'), ('part', '<i4'), ('height', '<i4'), ('width', '<i4')])
_FILES, _FOLDERS = 128, 10_000  # kept at most, by each process


class ImageCache:
    """Images that are decoded already, as ``tools/build_cache.py`` writes them; for reading.

    A folder of parts, ``part-0000.npy`` and so on, that hold pixels one image after the other, and
    an index: the digests of all paths, sorted, and where each image lies. The index is mapped into
    memory, 36 bytes an image (46 MB for 1.28 million), which all processes of a machine share.
    Pixels are read, not mapped: a process that maps parts of hundreds of GB needs two bytes of page
    table for each KB that it has touched, and dies of a signal where a disk fails or a file is cut.

    Nothing is opened before the first image is read, and nothing that is open is pickled, so that
    each data worker opens what it needs.

    Files of the images are not looked at, so that an epoch takes no access to them at all: after
    images have changed, ``tools/build_cache.py`` is to be run again.

    Args:
        root (str | Path): The folder of the cache.

    Attributes:
        folder (str): The folder of the images, absolute.
        short_side (int): Larger images were shrunk to this shorter side, in pixels.

    Raises:
        ValueError: If it is no cache, or not a complete one.
    """

    def __init__(self, root: Union[str, Path]) -> None:
        self.root = Path(os.path.abspath(root))  # read later, perhaps from elsewhere
        settings = read_settings(self.root)
        if settings is None:
            raise ValueError(
                f'{root} is no cache of images: run tools/build_cache.py FOLDER --out {root} with '
                'the folder of the images'
            )
        self.folder, self.short_side = settings.folder, settings.short_side
        if not (self.root / _INDEX).is_file():
            raise ValueError(f'the cache {root} is not complete: {self._remedy}')
        self._close()

    @property
    def _remedy(self) -> str:
        return REMEDY.format(folder=self.folder, root=self.root)

    def _close(self) -> None:
        self._index: Optional[Index] = None
        self._files: OrderedDict = OrderedDict()  # part -> (open file, where its pixels begin)
        self._folders: Dict[str, Optional[str]] = {}

    def __getstate__(self) -> dict:
        return dict(root=self.root, folder=self.folder, short_side=self.short_side)

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._close()

    def covers(self, folder: Union[str, Path]) -> bool:
        """Whether the cache was made of a folder or of one above it."""
        return self._below(str(folder)) is not None

    def read(self, path: str) -> np.ndarray:
        """Pixels of an image.

        Args:
            path (str): Its file, by any path that leads there through the folder of the images.

        Returns:
            np.ndarray: Shape (H, W, 3), uint8, BGR, as :func:`decode_image` makes them.

        Raises:
            ValueError: If the file could not be read when the cache was made; says why.
            RunError: If the image is not in the cache, or the cache is damaged.
        """
        if self._index is None:
            try:
                self._index = read_index(self.root)
            except (OSError, ValueError) as error:
                raise RunError(
                    f'the index of {self.root} cannot be read ({error}): {self._remedy}'
                ) from error
        name = self._name(path)
        found = None if name is None else self._index.find(name)
        if found is None:
            outside = '' if name is not None else f', which was made of {self.folder}'
            raise RunError(f'{path} is not in the cache {self.root}{outside}: {self._remedy}')
        offset, part, height, width = self._index.entries[found].item()
        if part < 0:
            raise ValueError(self._index.text[offset : offset + height].tobytes().decode())
        pixels = np.empty((height, width, 3), np.uint8)
        try:
            file, start = self._open(part)
            count = os.preadv(file.fileno(), [pixels], start + offset)
        except (OSError, ValueError) as error:
            count, reason = -1, getattr(error, 'strerror', None) or error
        else:
            reason = 'it is too short'
        if count != pixels.nbytes:
            raise RunError(
                f'{part_path(self.root, part)}.npy cannot be read ({reason}): {self._remedy}'
            )
        return pixels

    def _open(self, part: int) -> tuple:
        if part in self._files:
            self._files.move_to_end(part)
            return self._files[part]
        if len(self._files) >= _FILES:
            self._files.popitem(last=False)[1][0].close()
        file = open(f'{part_path(self.root, part)}.npy', 'rb', buffering=0)  # noqa: SIM115
        try:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
        except ValueError:
            file.close()
            raise
        self._files[part] = file, file.tell()
        return self._files[part]

    def _name(self, path: str) -> Optional[str]:
        """Path relative to the folder of the images; None of an image that lies elsewhere."""
        folder, name = os.path.split(path)
        if folder not in self._folders:
            if len(self._folders) >= _FOLDERS:
                self._folders.clear()
            self._folders[folder] = self._below(folder)
        below = self._folders[folder]
        return None if below is None else os.path.join(below, name)

    def _below(self, folder: str) -> Optional[str]:
        # As it is written first: a link may lead out of the folder. Then by where links lead.
        for resolve in (os.path.abspath, os.path.realpath):
            path = os.path.relpath(resolve(folder), resolve(self.folder))
            if path == '.':
                return ''
            if path.split(os.sep)[0] != '..':
                return path
        return None


class Settings(NamedTuple):
    """What a cache was made of and how."""

    folder: str
    short_side: int


def read_settings(root: Path) -> Optional[Settings]:
    """Settings of a cache; None if there is no cache.

    Raises:
        ValueError: If they cannot be read, or were written by another version.
    """
    try:
        settings = json.loads((root / _SETTINGS).read_text())
        if settings['format'] != _FORMAT:
            raise ValueError(f'its format is {settings["format"]}, not {_FORMAT}')
        return Settings(str(settings['folder']), int(settings['short_side']))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{root / _SETTINGS} cannot be read ({error}): remove {root} and make it anew by '
            'tools/build_cache.py'
        ) from error


def write_settings(root: Path, settings: Settings) -> None:
    """Write down what a cache is made of.

    Raises:
        RunError: If it cannot be written.
    """
    write_atomically(root / _SETTINGS, json.dumps(dict(settings._asdict(), format=_FORMAT)))


class Index(NamedTuple):
    """Where images lie.

    Attributes:
        digests (np.ndarray): Of the paths (N,), sorted; see :func:`path_digest`.
        entries (np.ndarray): Of each (N,), see :data:`ENTRY`.
        text (np.ndarray): Bytes of all reasons of faulty images.
    """

    digests: np.ndarray
    entries: np.ndarray
    text: np.ndarray

    def find(self, name: str) -> Optional[int]:
        """The number of an image by its relative path; None if it is not there."""
        (found,) = find_sorted(self.digests, np.array([path_digest(name)], _DIGEST))
        return None if found < 0 else int(found)


def read_index(root: Path) -> Index:
    """The index of a cache, mapped.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is damaged.
    """
    data = np.memmap(root / _INDEX, np.uint8, mode='r')
    (count,) = data[:8].view('<i8').tolist()
    ends = np.cumsum([8, _DIGEST.itemsize * count, ENTRY.itemsize * count])
    if count < 0 or ends[-1] > len(data):
        raise ValueError('it is too short')
    digests, entries = data[ends[0] : ends[1]], data[ends[1] : ends[2]]
    # Plain arrays on the same memory are found in faster.
    return Index(
        np.asarray(digests).view(_DIGEST),
        np.asarray(entries).view(ENTRY),
        np.asarray(data[ends[2] :]),
    )


def write_index(root: Path, index: Index) -> None:
    """Write an index, whose digests must be sorted.

    Raises:
        RunError: If it cannot be written.
    """
    content = [np.array([len(index.digests)], '<i8'), *index]
    write_atomically(root / _INDEX, b''.join(array.tobytes() for array in content))


def path_digest(name: str) -> bytes:
    """16 bytes of a relative path."""
    return hashlib.blake2b(os.fsencode(name), digest_size=_DIGEST.itemsize).digest()


def path_digests(names: Iterable[str]) -> np.ndarray:
    """Digests (N,) of relative paths."""
    return np.array([path_digest(name) for name in names], _DIGEST)


def part_path(root: Path, number: int) -> Path:
    """Both files of a part, without the suffix."""
    return root / f'part-{number:04d}'
