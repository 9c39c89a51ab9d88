from pathlib import Path
from typing import List

import numpy as np
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS

_FILES = {
    'train': [('train_X.bin', 'train_y.bin')],
    'test': [('test_X.bin', 'test_y.bin')],
    'unlabeled': [('unlabeled_X.bin', None)],
    'train+unlabeled': [('train_X.bin', 'train_y.bin'), ('unlabeled_X.bin', None)],
}
_SHAPE = (3, 96, 96)  # channel, column, row
_IMAGE_BYTES = 3 * 96 * 96


@DATASETS.register_module()
class STL10(BaseDataset):
    """`STL-10 <https://cs.stanford.edu/~acoates/stl10>`_: RGB images of 96x96 pixels.

    Of its 113,000 images 5,000 (``train``) and 8,000 (``test``) belong to ten classes; 100,000
    (``unlabeled``) come from those and others and have no ``gt_label``. An image is mapped from its
    file when it is asked for, so that the 2.7 GB never are in memory and workers share what the
    system caches.

    Args:
        data_root (str): The folder that holds ``stl10_binary/``.
        split (str): ``train``, ``test``, ``unlabeled`` or ``train+unlabeled``. Defaults to
            ``train``.
        **kwargs: Other keyword arguments of mmpretrain's ``BaseDataset``.

    Raises:
        FileNotFoundError: If a file is missing; says where to get it.
        ValueError: If ``split`` is none of these or a file is incomplete.
    """

    METAINFO = {
        'classes': (
            'airplane', 'bird', 'car', 'cat', 'deer', 'dog', 'horse', 'monkey', 'ship', 'truck',
        )
    }  # fmt: skip

    def __init__(self, data_root: str, split: str = 'train', **kwargs) -> None:
        if split not in _FILES:
            raise ValueError(f'split must be one of {", ".join(_FILES)}, got {split!r}')
        self.split = split
        super().__init__(ann_file='', data_root=data_root, **kwargs)

    def load_data_list(self) -> List[dict]:
        """Where each image lies (``img_file``, ``offset`` in bytes) and its label, if any."""
        folder = Path(self.data_root) / 'stl10_binary'
        needed = [name for pair in _FILES[self.split] for name in pair if name]
        missing = [name for name in needed if not (folder / name).is_file()]
        if missing:
            raise FileNotFoundError(
                f'{folder} lacks {", ".join(missing)}. Expected: '
                f'{folder}/{{train_X,train_y,unlabeled_X,test_X,test_y}}.bin. Unpack '
                'http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz (2.6 GB) in '
                f'{self.data_root} or point data_root to where stl10_binary/ is.'
            )
        return [info for pair in _FILES[self.split] for info in _list_images(folder, *pair)]

    def get_data_info(self, idx: int) -> dict:
        """An entry of the data list with its image, ``img``, uint8 RGB (96, 96, 3)."""
        info = super().get_data_info(idx)
        # Mapped anew each time: a map kept on the data set would be pickled, 2.7 GB of it, into
        # every spawned worker.
        stored = np.memmap(info['img_file'], np.uint8, 'r', info['offset'], _SHAPE)
        info['img'] = np.ascontiguousarray(stored.transpose(2, 1, 0))
        return info


def _list_images(folder: Path, image_file: str, label_file: str) -> List[dict]:
    path = folder / image_file
    count, rest = divmod(path.stat().st_size, _IMAGE_BYTES)
    labels = np.fromfile(folder / label_file, np.uint8) if label_file else None
    if rest or count == 0 or (labels is not None and len(labels) != count):
        raise ValueError(
            f'{path} is incomplete: {path.stat().st_size} bytes are '
            f'{count + rest / _IMAGE_BYTES:.2f} images of {_IMAGE_BYTES} bytes'
            + (f', {label_file} has {len(labels)} labels' if label_file else '')
            + '. Download and unpack it again.'
        )
    infos = [dict(img_file=str(path), offset=i * _IMAGE_BYTES) for i in range(count)]
    if labels is not None:
        for info, label in zip(infos, labels.tolist()):
            info['gt_label'] = label - 1  # stored from 1 to 10
    return infos
