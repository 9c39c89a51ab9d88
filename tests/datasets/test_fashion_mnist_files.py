import gzip
from urllib.error import URLError

import generated
import mmpretrain.datasets.mnist as mnist
import numpy as np
import pytest
from mmpretrain.registry import DATASETS


def build(root, test_mode):
    split = 'test' if test_mode else 'train'
    cfg = dict(type='FashionMNISTFiles', data_root=str(root), test_mode=test_mode, split=split)
    return DATASETS.build(cfg)


@pytest.mark.parametrize('test_mode', [False, True])
def test_packed_files_are_read_as_they_are(tmp_path, monkeypatch, test_mode):
    root = generated.fashion_mnist(tmp_path / 'images')
    expected = DATASETS.build(
        dict(type='FashionMNIST', data_root=str(root), test_mode=test_mode, download=False)
    )
    for path in list(root.iterdir()):
        (root / f'{path.name}.gz').write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    monkeypatch.setattr(mnist, 'download_and_extract_archive', None)
    found = build(root, test_mode)
    assert len(found) == len(expected) == (8 if test_mode else 12)
    for i in range(len(found)):
        ours, theirs = found.get_data_info(i), expected.get_data_info(i)
        assert np.array_equal(ours['img'], theirs['img'])
        assert ours['gt_label'] == theirs['gt_label']


def test_says_where_to_get_the_files(tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise URLError('no route to host')

    monkeypatch.setattr(mnist, 'download_and_extract_archive', offline)
    with pytest.raises(FileNotFoundError) as told:
        build(tmp_path, False)
    for part in ('no route to host', f'{tmp_path}/{{train-images', 'dataset-fashion-mnist'):
        assert part in str(told.value)
