"""What a user may give as images: a folder, paths, pictures, arrays of pixels or of features."""

import os
from pathlib import Path
from typing import Any, Iterator, List, NamedTuple, Optional, Sequence, Union

import numpy as np
import torch
from mmengine.dataset import Compose
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from cdc_mm.console import track
from cdc_mm.datasets.decoding import decode_image, rgb_pixels
from cdc_mm.errors import RunError
from cdc_mm.features.outputs import evaluating
from cdc_mm.memory import keep_freed_memory

_BATCH = 64
_CHANNELS = ((), (1,), (3,), (4,))  # grey, colour, and colour with transparency


class Pictures(NamedTuple):
    """Images that are given one by one.

    Attributes:
        items (Sequence): Paths, pictures of PIL or arrays (H, W), (H, W, 1) or (H, W, 3), uint8.
        names (list): A name for each: its path, or its number.
    """

    items: Sequence
    names: List[str]

    def open(self, index: int) -> Image.Image:
        """An image in RGB.

        Raises:
            ValueError: If it is none.
        """
        return open_picture(self.items[index], self.names[index])


def as_folder(given: Any) -> Optional[Path]:
    """The folder that is given, or None.

    Raises:
        FileNotFoundError: If it is a path and there is nothing.
        ValueError: If it is the path of a single file.
    """
    if not isinstance(given, (str, os.PathLike)):
        return None
    path = Path(given).expanduser()
    if not path.exists():
        raise FileNotFoundError(f'{path}: no such folder')
    if not path.is_dir():
        raise ValueError(f'{path} is a file: give a folder of images, or a list of paths')
    return path


def as_list(given: Any) -> Any:
    """What is given, as a list if it can be gone through but once or is a table's column."""
    if isinstance(given, (set, frozenset, Iterator)):
        return list(given)
    if isinstance(given, Image.Image) or not hasattr(given, '__array__'):
        return given
    # Paths of pandas or NumPy; columns have indices of their own.
    if getattr(given, 'ndim', None) == 1 and np.asarray(given).dtype.kind in 'OU':
        return list(given)
    return given


def as_pictures(given: Any) -> Optional[Pictures]:
    """Images that are given one by one, or None for what may be rows of features.

    Raises:
        ValueError: If there are none, if one is given alone, or if arrays are not of uint8.
    """
    if isinstance(given, Image.Image):
        raise ValueError('one image is given: put it into a list')
    if getattr(given, 'ndim', 0) > 2 and hasattr(given, '__array__'):
        given = np.asarray(given)
        _check_pixels(given, 'images', '(N, H, W) or (N, H, W, 3)', (3, 4))
        return Pictures(given, [str(i) for i in range(len(given))])
    if not isinstance(given, (list, tuple)):
        return None
    if not len(given):
        raise ValueError('there are no images: the list is empty')
    first = given[0]
    if not isinstance(first, (str, os.PathLike, Image.Image)) and getattr(first, 'ndim', 0) < 2:
        return None
    names = [
        os.fspath(item) if isinstance(item, (str, os.PathLike)) else str(i)
        for i, item in enumerate(given)
    ]
    return Pictures(given, names)


def _check_pixels(pixels: np.ndarray, what: str, shapes: str, dimensions: tuple) -> None:
    channels = pixels.shape[dimensions[0] :]
    if pixels.dtype != np.uint8 or pixels.ndim not in dimensions or channels not in _CHANNELS:
        raise ValueError(
            f'{what} must be an array of uint8, {shapes}, got {pixels.dtype} of shape '
            f'{pixels.shape}'
        )


def open_picture(
    item: Union[str, os.PathLike, Image.Image, np.ndarray],
    name: str,
    min_side: Optional[int] = None,
) -> Image.Image:
    """A path, picture or array as a picture in RGB, turned as its camera says.

    Args:
        item (str | Path | PIL.Image.Image | np.ndarray): What is given.
        name (str): For the error.
        min_side (int, optional): Pixels of the shorter side that are enough, for a file.

    Raises:
        ValueError: If it is none.
    """
    try:
        if isinstance(item, (str, os.PathLike)):
            if os.path.exists(item) and not os.path.isfile(item):
                raise ValueError('it is no regular file')  # opening a pipe would wait for ever
            # As the images of a folder are read.
            pixels = decode_image(Path(item).read_bytes(), min_side=min_side)
            return Image.fromarray(np.ascontiguousarray(pixels[..., ::-1]))
        if isinstance(item, Image.Image):
            return Image.fromarray(rgb_pixels(ImageOps.exif_transpose(item)))
        pixels = np.asarray(item)
        _check_pixels(pixels, 'it', '(H, W) or (H, W, 3)', (2, 3))
        pixels = pixels[..., 0] if pixels.shape[2:] == (1,) else pixels
        return Image.fromarray(rgb_pixels(Image.fromarray(pixels)))
    except Exception as error:  # damaged files make decoders raise anything
        raise ValueError(f'{name} is no image that can be read: {error}') from error


def encode_pictures(
    pictures: Pictures, encoder: nn.Module, pipeline: list, preprocessor: nn.Module, device: str
) -> np.ndarray:
    """Rows (N, D) of images that are given one by one, float32.

    Args:
        pictures (Pictures): N of them.
        encoder (nn.Module): Images (B, 3, H, W) to rows (B, D).
        pipeline (list): Steps of a data set, of which the first would load the file.
        preprocessor (nn.Module): Normalises, as in training.
        device (str): Where to compute.

    Raises:
        RunError: If an image cannot be read.
    """
    keep_freed_memory()
    dataset = _Pipelined(pictures, Compose(pipeline[1:]))
    loader = DataLoader(dataset, _BATCH)
    encoder.to(device)
    preprocessor.to(device)
    rows = []
    with torch.no_grad(), evaluating(encoder):
        for inputs in track(loader, 'features'):
            rows.append(encoder(_normalised(preprocessor, inputs.to(device))).float().cpu().numpy())
    return np.concatenate(rows)


def _normalised(preprocessor: nn.Module, inputs: Tensor) -> Tensor:
    return preprocessor(dict(inputs=inputs, data_samples=None), False)['inputs']


class _Pipelined(Dataset):
    def __init__(self, pictures: Pictures, pipeline: Compose) -> None:
        self.pictures = pictures
        self.pipeline = pipeline

    def __len__(self) -> int:
        return len(self.pictures.items)

    def __getitem__(self, index: int) -> Tensor:
        try:
            image = self.pictures.open(index)
        except ValueError as error:
            raise RunError(str(error)) from error
        pixels = np.ascontiguousarray(np.asarray(image)[..., ::-1])  # BGR, as LoadImage gives
        size = pixels.shape[:2]
        data = self.pipeline(dict(img=pixels, img_shape=size, ori_shape=size, sample_idx=index))
        return data['inputs']
