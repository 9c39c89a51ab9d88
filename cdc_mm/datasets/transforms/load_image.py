import os
from pathlib import Path
from typing import Mapping, Optional, Set

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.logging import MMLogger
from mmpretrain.registry import TRANSFORMS

from cdc_mm.errors import RunError

from ..decoding import MAX_PIXELS, PILLOW_LIMIT, decode_image
from ..image_cache import ImageCache

LIST_NAME = 'faulty_images.txt'
_MAX_IN_A_ROW = 100


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Read an image file of any mode as 8-bit BGR and say what happens to one that is faulty.

    Against mmcv's ``LoadImageFromFile``: transparency is laid on white instead of showing what it
    hides, files that cannot be decoded follow a policy and are listed, decompression bombs are
    refused and pipes are not waited for. What is accepted: :func:`decode_image`.

    Faulty files are named in ``faulty_images.txt`` beside the log of the run, one a line with the
    reason after a tab; ``FaultyImagesHook`` logs how many there are.

    Args:
        on_error (str): ``raise`` ends the run with the file's name. ``skip``, for training, lets
            another image take the place, at random. ``blank``, for evaluation, puts in a grey
            image with ``ori_shape`` (0, 0), which the metrics leave out. Defaults to ``raise``.
            A hundred files in a row end the run with ``skip``, with ``blank`` only if they cannot
            be opened.
        min_side (int, optional): What follows shrinks the image, so that a shorter side of this
            many pixels is enough: a larger JPEG is decoded at 1/2, 1/4 or 1/8 of its size, which
            takes a fraction of the time. Twice the size that it is resized to leaves the pixels the
            same to within 2 of 255 in the mean. Defaults to None: the full size.
        max_pixels (int): A larger image counts as faulty. Defaults to 100 million, which is 300 MB
            in each worker; up to 178 million.
        backend_args (dict, optional): Of mmengine's file backend.
        cache (str, optional): A folder that ``tools/build_cache.py`` made: images are taken from
            there, decoded and shrunk, and files are not looked at; see :class:`ImageCache`. What
            was faulty then follows ``on_error``. ``min_side`` and ``max_pixels`` have no effect.
            Defaults to None: images are read from their files.

    Raises:
        ValueError: If an argument is out of range, or ``cache`` is no cache.
    """

    def __init__(
        self,
        on_error: str = 'raise',
        min_side: Optional[int] = None,
        max_pixels: int = MAX_PIXELS,
        backend_args: Optional[dict] = None,
        cache: Optional[str] = None,
    ) -> None:
        if on_error not in ('raise', 'skip', 'blank'):
            raise ValueError(f"on_error must be 'raise', 'skip' or 'blank', got {on_error!r}")
        if min_side is not None and min_side < 1:
            raise ValueError(f'min_side must be at least 1, got {min_side}')
        if not 1 <= max_pixels <= PILLOW_LIMIT:
            raise ValueError(f'max_pixels must be between 1 and {PILLOW_LIMIT}, got {max_pixels}')
        self.on_error = on_error
        self.min_side = min_side
        self.max_pixels = max_pixels
        self.backend_args = backend_args
        self.cache = None if cache is None else ImageCache(cache)
        self._shape = (32, 32, 3)
        self._in_a_row = 0
        self._listed: Set[str] = set()

    def transform(self, results: dict) -> Optional[dict]:
        """Read ``img_path``; an image without a path, as mmpretrain's inferencers give, stays.

        Args:
            results (dict): With ``img_path``, or with ``img`` (H, W, 3) uint8 BGR.

        Returns:
            dict | None: With ``img`` (H, W, 3) uint8 BGR, ``img_shape`` and ``ori_shape`` (H, W);
            None for a faulty file that is skipped.

        Raises:
            RunError: If a faulty file is not to be skipped, there are 100 in a row, or an image is
                not in the cache.
        """
        if 'img' in results and 'img_path' not in results:
            return results
        path = results['img_path']
        try:
            image = self._read(path)
        except (OSError, ValueError) as error:
            self._on_fault(error, path)
            if self.on_error == 'skip':
                return None
            # Where nothing resizes, a batch needs images of one shape.
            image = np.full(self._shape, 127, np.uint8)
            results['ori_shape'] = (0, 0)
        else:
            self._in_a_row, self._shape = 0, image.shape
            results['ori_shape'] = image.shape[:2]
        results['img'] = image
        results['img_shape'] = image.shape[:2]
        return results

    def _read(self, path: str) -> np.ndarray:
        if self.cache is not None:
            return self.cache.read(path)
        backend = get_file_backend(path, backend_args=self.backend_args, enable_singleton=True)
        if isinstance(backend, LocalBackend) and os.path.exists(path) and not os.path.isfile(path):
            raise ValueError('it is no regular file')  # opening a pipe would wait for ever
        return decode_image(backend.get(path), self.max_pixels, self.min_side)

    def _on_fault(self, error: Exception, path: str) -> None:
        reason = getattr(error, 'strerror', None) or str(error)
        path = os.fsencode(path).decode(errors='backslashreplace')
        if self.on_error == 'raise':
            again = '' if self.cache is None else ' and run tools/build_cache.py again'
            raise RunError(
                f'{path} cannot be read: {reason}. Remove or replace the file{again}, or set '
                "on_error='skip' (training) or 'blank' (evaluation) of LoadImage in the config."
            )
        # Left out, a hundred broken files are what they are; a hundred that cannot even be opened
        # are a disk that has gone.
        self._in_a_row += self.on_error == 'skip' or isinstance(error, OSError)
        if self._in_a_row > _MAX_IN_A_ROW:
            raise RunError(
                f'{self._in_a_row} images in a row could not be read, the last being {path}: '
                f'{reason}.'
            )
        self._list(path, reason)

    def _list(self, path: str, reason: str) -> None:
        if path in self._listed:
            return
        file = list_file()
        if file is not None:
            self._listed |= read_list(file)  # other workers and ranks write too
            if path not in self._listed:
                with file.open('a', encoding='utf-8') as out:
                    out.write(f'{path}\t{" ".join(reason.split())}\n')
        self._listed.add(path)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(on_error={self.on_error!r}, min_side={self.min_side}, '
            f'max_pixels={self.max_pixels}, cache={self.cache and str(self.cache.root)!r})'
        )


def list_file() -> Optional[Path]:
    """Where faulty images of the current run are listed, if it writes a log, which is there."""
    log = MMLogger.get_current_instance().log_file
    folder = Path(log).parent if log else None
    return folder / LIST_NAME if folder and folder.is_dir() else None


def read_list(file: Path) -> Set[str]:
    """The faulty images listed so far."""
    if not file.is_file():
        return set()
    return {line.split('\t')[0] for line in file.read_text(encoding='utf-8').splitlines()}


def is_blank(sample: Mapping) -> bool:
    """Whether ``LoadImage(on_error='blank')`` could not read the image of a sample."""
    return tuple(sample.get('ori_shape', ())) == (0, 0)
