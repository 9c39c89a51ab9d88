"""A first look at a folder of images, before anything is computed."""

import hashlib
import warnings
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

import numpy as np
from mmpretrain.registry import DATASETS
from PIL import Image

from cdc_mm.console import track
from cdc_mm.datasets.decoding import FORMATS, MAX_PIXELS, decode_image

_GREY_SAMPLE = 200


class Survey(NamedTuple):
    """What is in a folder.

    Attributes:
        paths (list): Of all images, as the data set has them, N.
        broken (np.ndarray): Which have no header that can be read, or too many pixels, bool (N,).
        sizes (np.ndarray): Width and height in pixels, (N, 2); 0 of broken ones.
        grey (float): Share of grey images among some of them.
        duplicate_of (np.ndarray): Index of the first image of the same bytes; -1 without one and
            for broken ones, (N,).
    """

    paths: List[str]
    broken: np.ndarray
    sizes: np.ndarray
    grey: float
    duplicate_of: np.ndarray

    @property
    def short_edge(self) -> int:
        """The median of the shorter sides in pixels; 0 without a readable image."""
        good = self.sizes[~self.broken]
        return int(np.median(good.min(axis=1))) if len(good) else 0

    def lines(self) -> List[str]:
        """What there is to say, a line each."""
        good = self.sizes[~self.broken]
        if not len(good):
            return [f'{len(self.paths)} images, none of which can be read']
        width, height = np.median(good, axis=0).astype(int)
        spread = 'all' if (good == good[0]).all() else 'typically'
        kind = {0.0: 'in colour', 1.0: 'grey'}.get(self.grey, f'{self.grey:.0%} grey')
        lines = [f'{len(self.paths):,} images, {spread} {width} x {height} pixels, {kind}']
        copies = int((self.duplicate_of >= 0).sum())
        if copies:
            is_one = 'is a copy of another' if copies == 1 else 'are copies of others'
            lines.append(f'{copies:,} {is_one}, to the last byte')
        return lines


def survey(root: str) -> Survey:
    """Look at all images below a folder: headers, sizes, equal files.

    Args:
        root (str): The folder.

    Raises:
        FileNotFoundError: If there is no such folder or no image in it.
    """
    dataset = DATASETS.build(
        dict(type='ImageFolder', data_root=str(root), with_label=False, pipeline=[])
    )
    paths = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
    with ThreadPoolExecutor(8) as pool, warnings.catch_warnings():
        # Pillow's of large images, which are told as broken.
        warnings.simplefilter('ignore', Image.DecompressionBombWarning)
        heads = list(track(pool.map(_head, paths), 'looking at the images', len(paths)))
    sizes = np.array([head[:2] for head in heads]).reshape(-1, 2)
    broken = sizes[:, 0] == 0
    lengths = np.array([head[2] for head in heads])
    good = np.flatnonzero(~broken)
    sample = good[np.linspace(0, len(good) - 1, min(len(good), _GREY_SAMPLE)).astype(int)]
    grey = [_is_grey(paths[i]) for i in sample]
    grey = [value for value in grey if value is not None]
    duplicates = _duplicates(paths, lengths, good)
    return Survey(paths, broken, sizes, float(np.mean(grey)) if grey else 0.0, duplicates)


def _head(path: str) -> Tuple[int, int, int]:
    """Width, height and bytes of a file; the first two 0 if it is no image."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
        if 0 < width * height <= MAX_PIXELS:
            return width, height, Path(path).stat().st_size
    except Exception:  # damaged files make decoders raise anything
        pass
    return 0, 0, 0


def _is_grey(path: str) -> Optional[bool]:
    try:
        image = Image.fromarray(decode_image(Path(path).read_bytes(), min_side=64))
    except (OSError, ValueError):
        return None
    image.thumbnail((64, 64))
    pixels = np.asarray(image, np.int16)
    return bool(np.ptp(pixels, axis=2).max() <= 2)


def _duplicates(paths: List[str], lengths: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Index of the first file of the same bytes, -1 without one; files of one length are read."""
    first = np.full(len(paths), -1)
    groups = defaultdict(list)
    for index in among.tolist():
        groups[lengths[index]].append(index)
    for group in groups.values():
        if len(group) == 1:
            continue
        seen = {}
        for index in group:
            try:
                with open(paths[index], 'rb') as file:
                    digest = hashlib.file_digest(file, 'blake2b').digest()
            except OSError:
                continue
            if digest in seen:
                first[index] = seen[digest]
            else:
                seen[digest] = index
    return first
