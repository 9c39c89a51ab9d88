import numpy as np
import pytest
from mmpretrain.registry import DATASETS
from sklearn.datasets import load_digits


def load(split):
    dataset = DATASETS.build(dict(type='Digits', split=split))
    return [dataset.get_data_info(i) for i in range(len(dataset))]


def test_splits_are_disjoint_and_complete():
    train, test = load('train'), load('test')
    assert (len(train), len(test)) == (1437, 360)
    stored = sorted((*info['img'].ravel().tolist(), info['gt_label']) for info in [*train, *test])
    digits = load_digits()
    pixels = np.round(digits.images.reshape(-1, 64) * 255 / 16).astype(int)
    expected = sorted(
        (*row, label) for row, label in zip(pixels.tolist(), digits.target.tolist(), strict=True)
    )
    assert stored == expected


def test_split_is_fixed_and_images_are_uint8():
    first, again = load('test')[0], load('test')[0]
    assert np.array_equal(first['img'], again['img'])
    assert first['img'].shape == (8, 8, 1) and first['img'].dtype == np.uint8


def test_refuses_other_splits():
    with pytest.raises(ValueError, match="'train' or 'test', got 'val'"):
        load('val')
