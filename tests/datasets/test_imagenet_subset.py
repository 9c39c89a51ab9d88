import generated
import pytest
from mmpretrain.registry import DATASETS

from cdc_mm.datasets.imagenet_subset import read_class_list

SYNSETS = ('n01440764', 'n01443537', 'n01484850', 'n01491361')


def build(root, subset, **kwargs):
    return DATASETS.build(dict(type='ImageNetSubset', data_root=str(root), subset=subset, **kwargs))


def write(path, *lines):
    path.write_text('\n'.join(lines))
    return str(path)


def test_shipped_lists_are_nested():
    lists = {n: dict(zip(*read_class_list(n))) for n in (50, 100, 200)}
    for n, classes in lists.items():
        assert len(classes) == n and all(len(folder) == 9 for folder in classes)
        assert list(classes) == sorted(classes)
    assert lists[50].items() < lists[100].items() < lists[200].items()
    assert lists[50]['n01601694'] == 'water ouzel'


@pytest.mark.parametrize('split', ['train', 'val'])
def test_takes_the_listed_classes_only(tmp_path, split):
    root = generated.imagenet(tmp_path / 'data', SYNSETS)
    subset = write(tmp_path / 'list.txt', 'n01491361 tiger shark', 'n01443537', '')
    dataset = build(root, subset, split=split)
    found = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [(info['img_path'], info['gt_label']) for info in found] == [
        (f'{root}/{split}/n01443537/1.JPEG', 1),
        (f'{root}/{split}/n01491361/3.JPEG', 0),
    ]
    assert dataset.CLASSES == ['tiger shark', 'n01443537']


def test_says_what_is_missing_and_where_to_get_it(tmp_path):
    root = generated.imagenet(tmp_path / 'data', SYNSETS)
    with pytest.raises(FileNotFoundError) as error:
        build(root, 50)
    for part in (
        'lacks the images of 50 of 50 classes: n01601694, n01669191, n01755581, ...',
        f'{root}/{{train,val}}/<synset>/*.JPEG',
        'https://image-net.org',
    ):
        assert part in str(error.value)
    (root / 'train' / SYNSETS[0] / '0.JPEG').unlink()
    subset = write(tmp_path / 'list.txt', *SYNSETS)
    with pytest.raises(FileNotFoundError, match=r'images of 1 of 4 classes: n01440764\.'):
        build(root, subset)


def test_refuses_bad_lists(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no class list 70\. subset is 50, 100, 200 or'):
        build(tmp_path, 70)
    twice = write(tmp_path / 'twice.txt', 'a', 'b', 'a')
    with pytest.raises(ValueError, match='names 3 classes, 2 of them different'):
        build(tmp_path, twice)
    with pytest.raises(ValueError, match='names 0 classes'):
        build(tmp_path, write(tmp_path / 'empty.txt', ''))
    with pytest.raises(ValueError, match="'train' or 'val', got 'test'"):
        build(tmp_path, 50, split='test')


@pytest.mark.parametrize('name', ['../outside', '/etc', '..', 'n01440764/deeper'])
def test_a_list_cannot_leave_the_folder_of_the_data(tmp_path, name):
    path = tmp_path / 'list.txt'
    path.write_text(f'n01440764 tench\n{name}\n')
    with pytest.raises(ValueError, match=f'names {name}, which is no folder of the data set'):
        read_class_list(str(path))


@pytest.mark.parametrize(
    'name', ['../x.JPEG', '/x.JPEG', 'n01440764/../../../x.JPEG', 's3://x.JPEG']
)
@pytest.mark.parametrize('kind', ['subset', 'whole', 'whole, list comes with the data'])
def test_a_list_of_images_stays_in_the_folder(tmp_path, kind, name):
    root = generated.imagenet(tmp_path / 'data', SYNSETS)
    (root / 'meta').mkdir(exist_ok=True)
    cfg = dict(type='ListedImageNet', data_root=str(root), split='train')
    if kind == 'subset':
        subset = write(tmp_path / 'classes.txt', *SYNSETS)
        cfg.update(type='ImageNetSubset', subset=subset)
    if 'comes' not in kind:
        cfg['ann_file'] = 'meta/train.txt'
    write(root / 'meta/train.txt', 'n01440764/0.JPEG 0')
    assert DATASETS.build(cfg).get_data_info(0)['img_path'] == f'{root}/train/n01440764/0.JPEG'
    write(root / 'meta/train.txt', 'n01440764/0.JPEG 0', f'{name} 1')
    with pytest.raises(ValueError, match=r'meta/train\.txt names .*x\.JPEG 1, which lies outside'):
        DATASETS.build(cfg)
