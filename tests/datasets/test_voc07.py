import generated
import pytest
import torch
from mmpretrain.registry import DATASETS


def build(root, split='trainval', **kwargs):
    return DATASETS.build(dict(type='VOC07', data_root=str(root), split=split, **kwargs))


def classes_of(dataset, i):
    return [dataset.CLASSES[label] for label in dataset.get_data_info(i)['gt_label']]


def test_labels_are_the_objects_that_are_not_difficult(tmp_path):
    generated.voc(tmp_path)
    train, test = build(tmp_path), build(tmp_path, 'test')
    assert [classes_of(train, i) for i in range(3)] == [['dog', 'person'], ['cat'], ['person']]
    assert [classes_of(test, i) for i in range(3)] == [[], ['aeroplane', 'person'], ['cat', 'dog']]
    difficult = train.get_data_info(1)['gt_label_difficult']
    assert difficult == [train.CLASSES.index('dog')]
    assert len(train.CLASSES) == 20 and list(train.CLASSES) == sorted(train.CLASSES)


def test_an_image_with_only_difficult_objects_can_be_packed(tmp_path):
    generated.voc(tmp_path)
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    sample = build(tmp_path, 'test', pipeline=pipeline)[0]['data_samples']
    assert sample.gt_label.dtype == torch.int64 and len(sample.gt_label) == 0


def test_own_classes(tmp_path):
    generated.voc(tmp_path)
    dataset = build(tmp_path, metainfo=dict(classes=('dog', 'cat')))
    assert [dataset.get_data_info(i)['gt_label'] for i in range(3)] == [[0], [1], []]
    with pytest.raises(ValueError, match=r'trainval.txt shows any of the classes cell, virus, ...'):
        build(tmp_path, metainfo=dict(classes=('cell', 'virus')))


@pytest.mark.parametrize('name', ['JPEGImages', 'Annotations', 'ImageSets/Main/test.txt'])
def test_a_missing_part_shows_the_expected_tree(tmp_path, name):
    generated.voc(tmp_path)
    (tmp_path / name).rename(tmp_path / 'elsewhere')
    with pytest.raises(FileNotFoundError) as caught:
        build(tmp_path, 'test')
    message = str(caught.value)
    assert f'{tmp_path} lacks {name}.' in message
    for part in ('/JPEGImages/<id>.jpg', '/Annotations/<id>.xml', '/ImageSets/Main/test.txt'):
        assert f'{tmp_path}{part}' in message


def test_a_listed_image_without_annotation(tmp_path):
    generated.voc(tmp_path)
    (tmp_path / 'Annotations/000005.xml').unlink()
    with pytest.raises(FileNotFoundError, match=r'000005.xml is missing, though .*test.txt lists'):
        build(tmp_path, 'test')
