import pickle

import generated
import numpy as np
import pytest
from mmpretrain.registry import DATASETS


def build(root, **kwargs):
    return DATASETS.build(dict(type='CIFAR100Coarse', data_root=str(root), **kwargs))


@pytest.mark.parametrize('split', ['train', 'test'])
def test_gives_the_files_images_and_superclasses(tmp_path, monkeypatch, split):
    root = generated.cifar100(tmp_path, monkeypatch)
    entry = pickle.loads((root / 'cifar-100-python' / split).read_bytes())
    assert entry['coarse_labels'] != entry['fine_labels']
    dataset = build(root, split=split)
    assert len(dataset) == 4 and len(dataset.CLASSES) == 20
    for i, info in enumerate(dataset.get_data_info(i) for i in range(4)):
        assert info['gt_label'] == entry['coarse_labels'][i]
        # 1,024 red values, row by row, then green, then blue.
        assert np.array_equal(info['img'][..., 1].ravel(), entry['data'][i, 1024:2048])
