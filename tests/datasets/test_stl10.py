import pickle

import generated
import numpy as np
import pytest
import torch
import torchvision
from mmpretrain.registry import DATASETS

SPLITS = ('train', 'unlabeled', 'train+unlabeled', 'test')


def build(root, split='train', **kwargs):
    return DATASETS.build(dict(type='STL10', data_root=str(root), split=split, **kwargs))


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return generated.stl10(tmp_path_factory.mktemp('stl10'))


@pytest.mark.parametrize('split', SPLITS)
def test_agrees_with_torchvision(root, split, monkeypatch):
    # The generated files have other checksums than the official ones.
    monkeypatch.setattr(torchvision.datasets.STL10, '_check_integrity', lambda self: True)
    reference = torchvision.datasets.STL10(str(root), split=split)
    dataset = build(root, split)
    assert len(dataset) == len(reference) > 0
    for i, (image, label) in enumerate(reference):
        info = dataset.get_data_info(i)
        assert np.array_equal(info['img'], np.asarray(image)) and info['sample_idx'] == i
        assert info['img'].dtype == np.uint8 and info['img'].flags.c_contiguous
        assert info.get('gt_label', -1) == (label if label is not None else -1)


def test_pipeline_packs_images_and_the_labels_there_are(root):
    dataset = build(root, 'train+unlabeled', pipeline=[dict(type='PackInputs')])
    assert dataset[0]['inputs'].shape == (3, 96, 96)
    assert 'gt_label' in dataset[3]['data_samples']
    assert 'gt_label' not in dataset[4]['data_samples']


def test_spawned_workers_read_the_files_themselves(root):
    dataset = build(root, 'train+unlabeled', pipeline=[dict(type='PackInputs')])
    _ = dataset[0]
    # The images are 27,648 bytes each.
    assert len(pickle.dumps(dataset)) < 27648
    copy = pickle.loads(pickle.dumps(dataset))
    for i in range(10):
        assert torch.equal(copy[i]['inputs'], dataset[i]['inputs'])


def test_says_what_is_missing_and_where_to_get_it(root, tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        build(tmp_path / 'none', 'train+unlabeled')
    for part in (
        'lacks train_X.bin, train_y.bin, unlabeled_X.bin',
        f'{tmp_path}/none/stl10_binary/{{train_X,train_y,unlabeled_X,test_X,test_y}}.bin',
        'http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz',
    ):
        assert part in str(error.value)
    with pytest.raises(ValueError, match=r"one of train, test, unlabeled.*got 'val'"):
        build(root, 'val')


def test_needs_only_the_files_of_its_split(tmp_path):
    generated.stl10(tmp_path)
    (tmp_path / 'stl10_binary' / 'unlabeled_X.bin').unlink()
    assert len(build(tmp_path, 'train')) == 4


def test_refuses_incomplete_files(tmp_path):
    folder = generated.stl10(tmp_path) / 'stl10_binary'
    images = folder / 'test_X.bin'
    images.write_bytes(images.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r'test_X.bin is incomplete: 138140 bytes are 5.00 images'):
        build(tmp_path, 'test')
    images.write_bytes(images.read_bytes()[: 4 * 27648])
    with pytest.raises(ValueError, match=r'4.00 images .* test_y.bin has 5 labels'):
        build(tmp_path, 'test')
    (folder / 'unlabeled_X.bin').write_bytes(b'')
    with pytest.raises(ValueError, match=r'unlabeled_X\.bin is incomplete: 0 bytes'):
        build(tmp_path, 'unlabeled')
