import json
import os
import shutil
import time
import warnings
import zlib
from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple, Union

import numpy as np
import torch
from mmpretrain.datasets import ResizeEdge
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

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
from cdc_mm.console import say, track
from cdc_mm.errors import RunError

from .decoding import FORMATS, decode_image
from .image_cache import (
    ENTRY,
    Index,
    Settings,
    part_path,
    path_digests,
    read_index,
    read_settings,
    write_index,
    write_settings,
)
from .image_folder import SUFFIXES, list_images

# A part has at most so many bytes or seconds: what a killed run loses.
PART_BYTES = 1 << 30
PART_SECONDS = 300
_BATCH = 16  # images that a worker hands over at once
_SAMPLE = 64  # images whose size is looked at, to tell how large the cache will be
_MAX_IN_A_ROW = 100

# What the description of a part says of each of its images; of a faulty one, height and width are
# 0. Size and time of change are those of its file, -1 of one that could not be opened.
_RECORD = np.dtype(
    [('digest', 'S16'), ('height', '<i4'), ('width', '<i4'), ('size', '<i8'), ('time', '<i8')]
)


class CacheSummary(NamedTuple):
    """What is in a cache.

    Attributes:
        images (int): Images of the folder.
        made (int): Those of them that this run has decoded.
        faulty (int): Those that cannot be read.
        num_bytes (int): Size of the images.
        unused (int): Bytes of images that are gone or were changed.
        fault (str, optional): Path of the first faulty image, and why it cannot be read.
    """

    images: int
    made: int
    faulty: int
    num_bytes: int
    unused: int
    fault: Optional[str]


def build_cache(
    folder: Union[str, Path], out: Union[str, Path], short_side: int = 256, num_workers: int = 2
) -> CacheSummary:
    """Decode the images of a folder once, for :class:`ImageCache`, and show progress.

    Images are those that an :class:`ImageFolder` finds. They are decoded by :func:`decode_image`
    and, where their shorter side is longer, shrunk by mmpretrain's ``ResizeEdge``. A second run
    adds images that are new, makes those anew whose files have another size or time of change, and
    those of parts that do not fit their checksum. What a killed run has completed stays.

    Args:
        folder (str | Path): The images, at any depth.
        out (str | Path): The folder of the cache, which must not lie in ``folder``.
        short_side (int): In pixels, at least 1. Defaults to 256.
        num_workers (int): Processes that decode; with 0 this one does. Defaults to 2.

    Raises:
        FileNotFoundError: If there is no such folder or no image in it.
        ValueError: If an argument is out of range, or ``out`` holds something else: no cache, that
            of another folder, or one with another shorter side.
        RunError: If the disk is full or the folder cannot be written to, or a hundred files in a
            row cannot be opened.
    """
    folder, out = os.path.abspath(folder), Path(os.path.abspath(out))
    before = _check(folder, out, short_side, num_workers)
    names = list_images(folder)
    if not names:
        raise FileNotFoundError(
            f'{folder} holds no images: none of its files ends with {" ".join(SUFFIXES)}'
        )
    digests = path_digests(names)
    with locked(out):
        with writing_to(out):
            remove_unfinished(out)
        number = _next_number(out)
        parts = _good_parts(out)
        todo = np.flatnonzero(_outdated(folder, names, digests, parts))
        if before is not None and before.folder != folder and parts and len(todo) == len(names):
            raise ValueError(
                f'{out} holds the images of {before.folder}, none of which is in {folder} with the '
                'same size and time of change: give another --out'
            )
        write_settings(out, Settings(folder, short_side))
        if len(todo):
            left = [names[i] for i in todo]
            needed = _check_room(folder, left, out, short_side)
            say(f'{folder}: {len(left):,} of {len(names):,} images to decode, {needed}')
            _make(folder, left, digests[todo], out, number, short_side, num_workers)
            parts = _read_parts(out)
        return _finish(out, names, digests, parts, len(todo))


def _check(folder: str, out: Path, short_side: int, num_workers: int) -> Optional[Settings]:
    """What is known before any file is listed; returns the settings of a cache that is there."""
    if short_side < 1:
        raise ValueError(f'--short-side must be at least 1, got {short_side}')
    if num_workers < 0:
        raise ValueError(f'--num-workers must be at least 0, got {num_workers}')
    if not os.path.isdir(folder):
        raise FileNotFoundError(f'{folder} does not exist or is no folder')
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(folder)):
        raise ValueError(f'--out {out} lies in {folder}: give a folder outside the images')
    before = read_settings(out)
    if before is None and out.exists() and (not out.is_dir() or _holds_files(out)):
        raise ValueError(f'--out {out} is no cache of images: give a folder that is new or empty')
    if before is not None and before.short_side != short_side:
        raise ValueError(
            f'{out} was made with --short-side {before.short_side}, not {short_side}: give another '
            '--out'
        )
    return before


def _holds_files(out: Path) -> bool:
    return any(path.name != 'lock' for path in out.iterdir())  # of a run that was killed at once


class _Part(NamedTuple):
    """Attributes: records (n,) of its images, and reasons by number of the faulty ones."""

    number: int
    records: np.ndarray
    faults: dict


def _read_part(path: Path) -> _Part:
    info = json.loads(path.with_suffix('.json').read_text())
    content = bytes.fromhex(info['records'])
    records = np.frombuffer(content, _RECORD)
    pixels = 3 * (records['height'].astype(int) * records['width']).sum()
    if zlib.crc32(content) != info['records_crc32'] or pixels != info['shape'][0]:
        raise ValueError('its list of images is not the one that was written')
    faults = {int(i): str(reason) for i, reason in info['faults'].items()}
    return _Part(part_number(path.name), records, faults)


def _read_parts(out: Path) -> List[_Part]:
    return [_read_part(out / name) for name in part_names(out)]


def _good_parts(out: Path) -> List[_Part]:
    """Parts that are what they were written as; others are removed."""
    good = []
    for name in track(part_names(out), 'checking what is there'):
        try:
            check_array(out / name, 'uint8')
            good.append(_read_part(out / name))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            say(f'{out / name}.npy is left out and its images are made anew: {error}')
            remove_array(out / name)
    return good


def _next_number(out: Path) -> int:
    """A number that no part ever had: a training may still read by an older index."""
    try:
        last = int(read_index(out).entries['part'].max())
    except (OSError, ValueError):
        last = -1
    return 1 + max([last, *map(part_number, part_names(out))])


def _outdated(folder: str, names: List[str], digests: np.ndarray, parts: List[_Part]) -> np.ndarray:
    """Which images (N,) are in no part, or have changed since."""
    known, _, _ = _newest(parts)
    found = find_sorted(known['digest'], digests)
    outdated = found < 0
    for i in track(np.flatnonzero(~outdated), 'looking for changed files'):
        record = known[found[i]]
        try:
            stat = os.stat(os.path.join(folder, names[i]))
        except OSError:
            outdated[i] = True
        else:
            outdated[i] = (stat.st_size, stat.st_mtime_ns) != (record['size'], record['time'])
    return outdated


def _newest(parts: List[_Part]) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Records of all images, sorted by digest, with their parts and their numbers in these."""
    empty = np.empty(0, int)
    records = np.concatenate([np.empty(0, _RECORD), *(part.records for part in parts)])
    part_of = np.concatenate([empty, *(np.full(len(p.records), i) for i, p in enumerate(parts))])
    place = np.concatenate([empty, *(np.arange(len(part.records)) for part in parts)])
    # Of an image that was made anew the last counts.
    last = len(records) - 1 - np.unique(records['digest'][::-1], return_index=True)[1]
    return records[last], part_of[last], place[last]


def _check_room(folder: str, names: List[str], out: Path, short_side: int) -> str:
    """Say how large the images will be, by the headers of some, or that there is no room."""
    sizes = []
    for i in np.unique(np.linspace(0, len(names) - 1, _SAMPLE).astype(int)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # of large images
                with Image.open(os.path.join(folder, names[i]), formats=FORMATS) as image:
                    width, height = image.size
        except Exception:  # faulty: will be told
            continue
        shrink = min(1, short_side / min(width, height))
        sizes.append(3 * width * height * shrink**2)
    needed = np.mean(sizes or [0]) * len(names)
    free = shutil.disk_usage(out).free
    if needed > free:
        raise ValueError(
            f'{len(names):,} images take about {_in_words(needed)}, and {out} has '
            f'{_in_words(free)} of room: give another --out or a smaller --short-side'
        )
    return f'about {_in_words(needed)}'


def _in_words(num_bytes: float) -> str:
    return f'{num_bytes / 1e9:.1f} GB' if num_bytes >= 1e8 else f'{num_bytes / 1e6:.1f} MB'


def _make(
    folder: str,
    names: List[str],
    digests: np.ndarray,
    out: Path,
    number: int,
    short_side: int,
    num_workers: int,
) -> None:
    """Decode images into new parts."""
    batches = DataLoader(
        _Files(folder, names, short_side), _BATCH, num_workers=num_workers, collate_fn=_join
    )
    writer = _PartWriter(out, number)
    done = in_a_row = 0
    try:
        for pixels, made in track(batches, 'images'):
            records = np.empty(len(made), _RECORD)
            records['digest'] = digests[done : done + len(made)]
            for name in ('height', 'width', 'size', 'time'):
                records[name] = [getattr(image, name) for image in made]
            writer.add(pixels.numpy(), records, [image.fault for image in made])
            for image in made:
                in_a_row = in_a_row + 1 if image.size < 0 else 0
                if in_a_row > _MAX_IN_A_ROW:
                    raise RunError(
                        f'{in_a_row} files in a row could not be opened, the last being '
                        f'{os.path.join(folder, names[done])}: {image.fault}.'
                    )
                done += 1
        writer.finish_part()
    finally:
        writer.discard()


class _Made(NamedTuple):
    """An image of a file; ``fault`` says why there is none."""

    pixels: np.ndarray
    height: int
    width: int
    size: int
    time: int
    fault: Optional[str]


class _Files(Dataset):
    """Decodes the images of files."""

    def __init__(self, folder: str, names: List[str], short_side: int) -> None:
        self.folder = folder
        self.names = names
        self.short_side = short_side
        self.resize = ResizeEdge(short_side, edge='short', backend='pillow')

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> _Made:
        size = time = -1
        try:
            with open(os.path.join(self.folder, self.names[index]), 'rb') as file:
                stat = os.fstat(file.fileno())  # before it is read: it may change meanwhile
                content = file.read()
            size, time = stat.st_size, stat.st_mtime_ns
            image = decode_image(content)
        except (OSError, ValueError) as error:
            fault = getattr(error, 'strerror', None) or str(error)
            return _Made(np.empty(0, np.uint8), 0, 0, size, time, fault)
        if min(image.shape[:2]) > self.short_side:
            image = self.resize.transform(dict(img=image))['img']
        return _Made(image.reshape(-1), *image.shape[:2], size, time, None)


def _join(images: List[_Made]) -> Tuple[Tensor, List[_Made]]:
    """All pixels as one tensor, which workers hand over in shared memory, and the rest."""
    pixels = torch.from_numpy(np.concatenate([image.pixels for image in images]))
    return pixels, [image._replace(pixels=None) for image in images]


class _PartWriter:
    """Writes parts of a limited size, from a number on."""

    def __init__(self, out: Path, number: int) -> None:
        self._out = out
        self._number = number
        self._start()

    def _start(self) -> None:
        self._array, self._records, self._faults = None, [], []
        self._begin = time.monotonic()

    def add(self, pixels: np.ndarray, records: np.ndarray, faults: List[Optional[str]]) -> None:
        """Add images.

        Args:
            pixels (np.ndarray): Of all of them, one after the other, uint8.
            records (np.ndarray): Shape (n,).
            faults (list): Of each why it is faulty, or None.
        """
        size = 0 if self._array is None else self._array.num_bytes
        if size + pixels.nbytes > PART_BYTES or time.monotonic() - self._begin > PART_SECONDS:
            self.finish_part()
        if pixels.nbytes:
            with writing_to(self._out):
                if self._array is None:
                    self._array = ArrayWriter(part_path(self._out, self._number), 'uint8')
                self._array.append(pixels[:, None])
        self._records.append(records)
        self._faults += faults

    def finish_part(self) -> None:
        """Give the part its name, if there is anything in it."""
        if not self._records:
            return
        records = np.concatenate(self._records).tobytes()
        info = dict(
            records=records.hex(),
            records_crc32=zlib.crc32(records),
            faults={i: fault for i, fault in enumerate(self._faults) if fault is not None},
        )
        if self._array is None:
            path = part_path(self._out, self._number).with_suffix('.json')
            write_atomically(path, json.dumps(dict(info, shape=[0, 1])))
        else:
            with writing_to(self._out):
                self._array.finish(info)
        self._number += 1
        self._start()

    def discard(self) -> None:
        """Remove what was written of a part that is not whole."""
        if self._array is not None:
            self._array.discard()


def _finish(
    out: Path, names: List[str], digests: np.ndarray, parts: List[_Part], made: int
) -> CacheSummary:
    """Write the index of the images that are in the folder."""
    records, part_of, place = _newest(parts)
    order = np.argsort(digests)
    found = find_sorted(records['digest'], digests[order])
    records, part_of, place = records[found], part_of[found], place[found]
    sizes = [3 * part.records['height'].astype(int) * part.records['width'] for part in parts]
    offsets = [np.cumsum(size) - size for size in sizes]
    entries = np.empty(len(names), ENTRY)
    entries['height'], entries['width'] = records['height'], records['width']
    entries['part'] = np.array([part.number for part in parts])[part_of]
    entries['offset'] = np.concatenate(offsets)[_starts(sizes)[part_of] + place]
    text, first = b'', None
    for i in np.flatnonzero(records['height'] == 0):
        reason = parts[part_of[i]].faults[place[i]]
        first = min(first or (order[i], reason), (order[i], reason))
        content = reason.encode(errors='backslashreplace')
        entries[i] = len(text), -1, len(content), 0
        text += content
    write_index(out, Index(digests[order], entries, np.frombuffer(text, np.uint8)))
    is_image = entries['part'] >= 0
    used = int(3 * (records['height'].astype(int) * records['width']).sum())
    return CacheSummary(
        images=len(names),
        made=made,
        faulty=int((~is_image).sum()),
        num_bytes=used,
        unused=int(sum(size.sum() for size in sizes)) - used,
        fault=None if first is None else f'{names[first[0]]}: {first[1]}',
    )


def _starts(items: list) -> np.ndarray:
    """Where each of several arrays begins when they are put together."""
    lengths = np.array([len(item) for item in items])
    return np.cumsum(lengths) - lengths
