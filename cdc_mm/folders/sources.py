"""What a user may give as images: a folder, paths, pictures, arrays of pixels or of features."""

import os
from pathlib import Path
from typing import Any, List, NamedTuple, Optional, Sequence, Union

import numpy as np
import torch
from mmengine.dataset import Compose
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from cdc_mm.console import track
from cdc_mm.errors import RunError
from cdc_mm.features.outputs import evaluating
from cdc_mm.memory import keep_freed_memory

_BATCH = 64


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
    path = Path(given)
    if not path.exists():
        raise FileNotFoundError(f'{path}: no such folder')
    if not path.is_dir():
        raise ValueError(f'{path} is a file: give a folder of images, or a list of paths')
    return path


def as_pictures(given: Any) -> Optional[Pictures]:
    """Images that are given one by one, or None for what may be rows of features.

    Raises:
        ValueError: If an array of images has other values than 0 to 255 as uint8.
    """
    if isinstance(given, np.ndarray) and given.dtype != object:
        if given.ndim == 2 or given.ndim < 2:
            return None
        if given.dtype != np.uint8 or given.ndim > 4:
            raise ValueError(
                f'images must be an array of uint8, (N, H, W) or (N, H, W, 3), got {given.dtype} '
                f'of shape {given.shape}'
            )
        return Pictures(given, [str(i) for i in range(len(given))])
    if not isinstance(given, (list, tuple, np.ndarray)) or not len(given):
        return None
    if isinstance(given[0], (str, os.PathLike)):
        return Pictures(given, [os.fspath(path) for path in given])
    if isinstance(given[0], Image.Image) or (
        isinstance(given[0], np.ndarray) and given[0].dtype == np.uint8 and given[0].ndim >= 2
    ):
        return Pictures(given, [str(i) for i in range(len(given))])
    return None


def open_picture(item: Union[str, os.PathLike, Image.Image, np.ndarray], name: str) -> Image.Image:
    """A path, picture or array as a picture in RGB, turned as its camera says.

    Raises:
        ValueError: If it is none.
    """
    try:
        if isinstance(item, (str, os.PathLike)):
            with Image.open(item) as image:
                return ImageOps.exif_transpose(image).convert('RGB')
        if isinstance(item, Image.Image):
            return ImageOps.exif_transpose(item).convert('RGB')
        pixels = np.asarray(item)
        if pixels.dtype != np.uint8:
            raise ValueError(f'it has values of {pixels.dtype}, not uint8')
        return Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels).convert(
            'RGB'
        )
    except (OSError, ValueError, TypeError, Image.DecompressionBombError) as error:
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
