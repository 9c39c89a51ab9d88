import os

import generated
import numpy as np
import pytest
from mmengine.logging import MMLogger
from mmpretrain.registry import DATASETS, TRANSFORMS
from PIL import Image

from cdc_mm.datasets.transforms import is_blank
from cdc_mm.datasets.transforms.load_image import LIST_NAME
from cdc_mm.errors import RunError


@pytest.fixture
def folder(tmp_path):
    """Three images of 20x30 and three faulty files."""
    generated.faulty_files(tmp_path)
    for name in 'xyz':
        Image.fromarray(np.full((20, 30, 3), 7, np.uint8)).save(tmp_path / f'{name}.png')
    return tmp_path


@pytest.fixture
def log_file(tmp_path_factory):
    """The log of a run, which the list of faulty images lies beside."""
    path = tmp_path_factory.mktemp('log') / 'run.log'
    logger = MMLogger.get_instance(path.parent.name, log_file=str(path))
    yield path
    logger.handlers[-1].close()


def load(path, **kwargs):
    return TRANSFORMS.build(dict(type='LoadImage', **kwargs)).transform(dict(img_path=str(path)))


def test_reads_an_image(folder):
    results = load(folder / 'x.png')
    assert results['img'].shape == (20, 30, 3) and (results['img'] == 7).all()
    assert results['img_shape'] == results['ori_shape'] == (20, 30)
    assert not is_blank(results)


@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        ('empty.jpg', 'no image of a known format'),
        ('text.jpg', 'no image of a known format'),
        ('cut.jpg', '[Tt]runcated'),
        ('none.jpg', 'No such file'),
        ('folder.jpg', 'no regular file'),
        ('pipe.jpg', 'no regular file'),
        ('loop.jpg', 'symbolic links'),
    ],
)
def test_raise_names_the_file_the_reason_and_the_remedy(folder, name, reason):
    (folder / 'folder.jpg').mkdir()
    os.mkfifo(folder / 'pipe.jpg')
    (folder / 'loop.jpg').symlink_to(folder / 'loop.jpg')
    with pytest.raises(RunError, match=rf"{name} cannot be read: .*{reason}.*on_error='skip'"):
        load(folder / name)


def test_refuses_an_unknown_policy():
    with pytest.raises(ValueError, match="on_error must be 'raise', 'skip' or 'blank', got 'no'"):
        load('x', on_error='no')


def test_skip_draws_another_image_and_lists_the_faulty_once(folder, log_file):
    pipeline = [dict(type='LoadImage', on_error='skip'), dict(type='PackInputs')]
    dataset = DATASETS.build(
        dict(
            type='CustomDataset',
            data_root=str(folder),
            with_label=False,
            pipeline=pipeline,
        )
    )
    assert len(dataset) == 6
    for _ in range(2):
        for i in range(6):
            assert dataset[i]['inputs'].shape == (3, 20, 30)
    lines = (log_file.parent / LIST_NAME).read_text().splitlines()
    names = sorted(line.split('\t')[0] for line in lines)
    assert names == [str(folder / name) for name in ('cut.jpg', 'empty.jpg', 'text.jpg')]
    assert all('\t' in line and line.split('\t')[1] for line in lines)


def test_skip_ends_when_nothing_can_be_read(folder):
    transform = TRANSFORMS.build(dict(type='LoadImage', on_error='skip'))
    for _ in range(100):
        assert transform.transform(dict(img_path=str(folder / 'text.jpg'))) is None
    with pytest.raises(RunError, match=r'101 images in a row .*text\.jpg: it is no image'):
        transform.transform(dict(img_path=str(folder / 'text.jpg')))


def test_a_readable_image_ends_the_row(folder):
    transform = TRANSFORMS.build(dict(type='LoadImage', on_error='skip'))
    for _ in range(3):
        for _ in range(60):
            assert transform.transform(dict(img_path=str(folder / 'text.jpg'))) is None
        assert transform.transform(dict(img_path=str(folder / 'x.png')))


def test_blank_has_the_shape_of_the_image_before_and_says_that_it_is_none(folder):
    transform = TRANSFORMS.build(dict(type='LoadImage', on_error='blank'))
    first = transform.transform(dict(img_path=str(folder / 'text.jpg')))
    assert first['img'].shape == (32, 32, 3) and is_blank(first)
    transform.transform(dict(img_path=str(folder / 'x.png')))
    blank = transform.transform(dict(img_path=str(folder / 'text.jpg')))
    assert blank['img'].shape == (20, 30, 3) and (blank['img'] == 127).all() and is_blank(blank)
    packed = TRANSFORMS.build(dict(type='PackInputs')).transform(blank)
    assert is_blank(packed['data_samples'])


def test_names_that_are_no_utf8_are_listed(folder, log_file):
    path = os.fsdecode(os.fsencode(folder) + b'/\xff\xfe.jpg')
    open(path, 'wb').close()
    assert is_blank(load(path, on_error='blank'))
    assert r'\xff\xfe.jpg' in (log_file.parent / LIST_NAME).read_text()


def test_two_workers_list_an_image_once(folder, log_file):
    for _ in range(2):
        load(folder / 'text.jpg', on_error='skip')
    assert len((log_file.parent / LIST_NAME).read_text().splitlines()) == 1


def test_limits_follow_the_policy(folder):
    assert is_blank(load(folder / 'x.png', on_error='blank', max_pixels=599))
    with pytest.raises(RunError, match=r'x\.png cannot be read: .*max_pixels of LoadImage'):
        load(folder / 'x.png', max_pixels=599)
    Image.new('RGB', (64, 32)).save(folder / 'y.jpg')
    assert load(folder / 'y.jpg', min_side=16)['img_shape'] == (16, 32)


@pytest.mark.parametrize('argument', [dict(min_side=0), dict(max_pixels=0), dict(max_pixels=10**9)])
def test_refuses_limits_out_of_range(argument):
    with pytest.raises(ValueError, match=next(iter(argument))):
        load('x', **argument)
