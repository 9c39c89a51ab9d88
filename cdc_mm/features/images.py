import hashlib
import os
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset

from .store import ID_BYTES


class Images(NamedTuple):
    """What a data set says of its images before any is read.

    Attributes:
        labels (list): ``gt_label`` of each: a number, a list of numbers in multi-label data, None
            without a label.
        names (list): Path of each, or its number where the data is no folder of files.
        ids (np.ndarray): 16 bytes for each, of its path, size and time of change or of its pixels.
    """

    labels: list
    names: list
    ids: np.ndarray

    def without(self, kept: np.ndarray) -> list:
        """Names of all images but these numbers."""
        return [self.names[i] for i in np.setdiff1d(np.arange(len(self.names)), kept)]


def scan_images(dataset: Dataset) -> Images:
    """Labels, names and ids of the images of a data set.

    Args:
        dataset (Dataset): With ``get_data_info``, as mmengine's.

    Returns:
        Images: In the order of the data set.

    Raises:
        FileNotFoundError: If an image is missing.
    """
    labels, names = [], []
    ids = np.empty(len(dataset), f'S{ID_BYTES}')
    for i in range(len(dataset)):
        info = dataset.get_data_info(i)
        labels.append(info.get('gt_label'))
        names.append(info.get('img_path', i))
        digest = hashlib.blake2b(digest_size=ID_BYTES)
        if 'img' in info:
            digest.update(f'{info["img"].shape} {info["img"].dtype}'.encode())
            digest.update(np.ascontiguousarray(info['img']))
        else:
            stat = os.stat(info['img_path'])
            digest.update(os.fsencode(os.path.abspath(info['img_path'])))
            digest.update(f'\0{stat.st_size}\0{stat.st_mtime_ns}'.encode())
        ids[i] = digest.digest()
    return Images(labels, names, ids)
