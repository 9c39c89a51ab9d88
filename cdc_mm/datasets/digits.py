from typing import List

import numpy as np
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS
from sklearn.datasets import load_digits


@DATASETS.register_module()
class Digits(BaseDataset):
    """The 1,797 handwritten digits (8x8, grey) that scikit-learn ships.

    A fixed permutation, drawn without looking at the labels, puts 80 % into ``train`` (1,437) and
    the rest into ``test`` (360).

    Args:
        split (str): ``train`` or ``test``. Defaults to ``train``.
        **kwargs: Other keyword arguments of mmpretrain's ``BaseDataset``.

    Raises:
        ValueError: If ``split`` is neither.
    """

    METAINFO = {'classes': tuple('0123456789')}

    def __init__(self, split: str = 'train', **kwargs) -> None:
        if split not in ('train', 'test'):
            raise ValueError(f"split must be 'train' or 'test', got {split!r}")
        self.split = split
        super().__init__(ann_file='', **kwargs)

    def load_data_list(self) -> List[dict]:
        """Images as uint8 (8, 8, 1) arrays with their labels."""
        digits = load_digits()
        order = np.random.RandomState(0).permutation(len(digits.images))
        cut = len(order) * 4 // 5
        chosen = order[:cut] if self.split == 'train' else order[cut:]
        # The source counts ink from 0 to 16.
        images = (digits.images[chosen] * (255 / 16)).round().astype(np.uint8)[..., None]
        return [
            dict(img=image, gt_label=int(label))
            for image, label in zip(images, digits.target[chosen])
        ]
