import generated
import numpy as np
import pytest
from mmpretrain.registry import DATASETS


def places(root, split='train', **kwargs):
    return DATASETS.build(dict(type='Places205Split', data_root=str(root), split=split, **kwargs))


def test_places205_by_its_lists(tmp_path):
    generated.places205(tmp_path)
    pipeline = [dict(type='LoadImageFromFile')]
    for split in ('train', 'val'):
        dataset = places(tmp_path, split, pipeline=pipeline)
        assert np.array_equal(dataset.get_gt_labels(), [0, 204])
        assert dataset.CLASSES[0] == 'abbey' and dataset.CLASSES[204] == 'yard'
        assert dataset[1]['img'].shape == (256, 256, 3)
        assert dataset.get_data_info(1)['img_path'].endswith(f'/y/yard/{split}_1.jpg')


@pytest.mark.parametrize('name', ['trainvalsplit_places205/val_places205.csv', 'data'])
def test_places205_shows_the_expected_tree(tmp_path, name):
    generated.places205(tmp_path)
    (tmp_path / name).rename(tmp_path / 'elsewhere')
    with pytest.raises(FileNotFoundError, match=r'Expected:\n(.*\n)*.*images256/<letter>'):
        places(tmp_path, 'val')


def test_places205_has_two_splits(tmp_path):
    with pytest.raises(ValueError, match="'train' or 'val', got 'test'"):
        places(tmp_path, 'test')
