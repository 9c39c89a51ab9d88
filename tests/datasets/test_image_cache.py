import copy
import json
import os
import pickle
import shutil
from pathlib import Path

import cv2
import generated
import numpy as np
import pytest
from mmengine.dataset import default_collate
from mmpretrain.datasets import ResizeEdge
from mmpretrain.registry import DATASETS, TRANSFORMS
from PIL import Image
from torch.utils.data import DataLoader

from cdc_mm.datasets import cache_building as building
from cdc_mm.datasets import image_cache as module
from cdc_mm.datasets.cache_building import build_cache
from cdc_mm.datasets.decoding import decode_image
from cdc_mm.datasets.image_cache import ImageCache
from cdc_mm.datasets.transforms import is_blank
from cdc_mm.errors import RunError

SIDE = 24
# Wide, tall, square, as large as it may be and smaller; JPEG, PNG and grey.
SHAPES = {
    'a/wide.jpg': (40, 60, 3),
    'a/tall.png': (61, 33, 3),
    'b/square.JPEG': (50, 50, 3),
    'b/c/edge.png': (24, 30, 3),
    'small.jpg': (10, 12, 3),
    'grey.png': (40, 30),
}


def draw(path, shape, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.RandomState(seed).randint(256, size=shape, dtype=np.uint8)).save(path)


@pytest.fixture
def photos(tmp_path):
    for seed, (name, shape) in enumerate(SHAPES.items()):
        draw(tmp_path / 'photos' / name, shape, seed)
    draw(tmp_path / 'photos/.hidden/x.png', (8, 8, 3))
    (tmp_path / 'photos/notes.txt').write_text('no image')
    return tmp_path / 'photos'


def build(photos, **kwargs):
    """Make the cache beside the images; what was said of it."""
    kwargs = dict(dict(short_side=SIDE, num_workers=0), **kwargs)
    return build_cache(photos, photos.parent / 'cache', **kwargs)


def load(photos, name, **kwargs):
    transform = TRANSFORMS.build(
        dict(type='LoadImage', cache=str(photos.parent / 'cache'), **kwargs)
    )
    return transform.transform(dict(img_path=str(photos / name)))


def reference(path):
    """Decoded and, if it is larger, shrunk by mmpretrain."""
    image = decode_image(Path(path).read_bytes())
    if min(image.shape[:2]) <= SIDE:
        return image
    resize = ResizeEdge(SIDE, edge='short', backend='pillow')
    return resize.transform(dict(img=image))['img']


def check_all(photos, cache=None):
    cache = cache or ImageCache(photos.parent / 'cache')
    names = [p for p in photos.rglob('*') if p.suffix.lower() in ('.jpg', '.jpeg', '.png')]
    names = [path for path in names if '.hidden' not in path.parts]
    for path in names:
        image = cache.read(str(path))
        assert image.dtype == np.uint8 and image.flags.writeable and image.flags.c_contiguous
        assert np.array_equal(image, reference(path)), path
    return len(names)


def parts(photos):
    return sorted(path.name for path in (photos.parent / 'cache').glob('part-*.npy'))


def touch(path, seconds):
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + seconds * 10**9))


@pytest.mark.parametrize('workers', [0, 2])
def test_pixels_are_those_of_decoding_and_mmpretrains_resize(photos, workers):
    done = build(photos, num_workers=workers)
    size = 3 * (24 * 36 + 24 * 44 + 24 * 24 + 24 * 30 + 10 * 12 + 24 * 32)
    assert done == (6, 6, 0, size, 0, None)
    assert check_all(photos) == 6
    assert ImageCache(photos.parent / 'cache').short_side == SIDE
    results = load(photos, 'a/wide.jpg', min_side=1)
    assert results['img'].shape == (24, 36, 3)
    assert results['img_shape'] == results['ori_shape'] == (24, 36)


def test_an_evaluation_at_the_same_size_gets_the_same_pixels(photos):
    build(photos)
    steps = [
        dict(type='ResizeEdge', scale=SIDE, edge='short', backend='pillow'),
        dict(type='CenterCrop', crop_size=20),
    ]
    datasets = [
        DATASETS.build(
            dict(
                type='ImageFolder',
                data_root=str(photos),
                pipeline=[dict(type='LoadImage', **kwargs), *steps, dict(type='PackInputs')],
            )
        )
        for kwargs in ({}, dict(cache=str(photos.parent / 'cache')))
    ]
    for i, name in enumerate(sorted(SHAPES)):
        assert np.array_equal(*(data[i]['inputs'] for data in datasets)), name


def test_a_grown_folder_adds_only_what_is_new(photos, monkeypatch):
    build(photos)
    before = {name: (photos.parent / 'cache' / name).read_bytes() for name in parts(photos)}
    decoded = []
    monkeypatch.setattr(building, 'decode_image', lambda x: decoded.append(x) or decode_image(x))
    assert build(photos).made == 0 and decoded == [] and parts(photos) == ['part-0000.npy']
    draw(photos / 'a/0.png', (30, 30, 3), 9)
    assert build(photos)[:2] == (7, 1)
    assert decoded == [(photos / 'a/0.png').read_bytes()]
    assert parts(photos) == ['part-0000.npy', 'part-0001.npy']
    assert (photos.parent / 'cache/part-0000.npy').read_bytes() == before['part-0000.npy']
    assert check_all(photos) == 7


@pytest.mark.parametrize('what', ['size', 'time'])
def test_a_changed_file_is_made_anew(photos, what):
    build(photos)
    path = photos / 'a/tall.png'
    stat = path.stat()
    draw(path, (33, 50, 3), 7)
    if what == 'size':
        assert path.stat().st_size != stat.st_size
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    else:
        # Of the same size, to the byte.
        path.write_bytes(path.read_bytes().ljust(stat.st_size, b'\0')[: stat.st_size])
        touch(path, 5)
    # Training does not look at the files.
    assert ImageCache(photos.parent / 'cache').read(str(path)).shape == (44, 24, 3)
    done = build(photos)
    assert done.made == 1 and done.unused == 3 * 44 * 24
    check_all(photos)
    assert ImageCache(photos.parent / 'cache').read(str(path)).shape == (24, 36, 3)


def test_an_image_that_is_gone_is_not_in_the_cache(photos):
    build(photos)
    (photos / 'small.jpg').unlink()
    assert build(photos)[:2] == (5, 0)
    with pytest.raises(RunError, match='not in the cache'):
        load(photos, 'small.jpg')
    check_all(photos)


def test_a_killed_run_goes_on_behind_its_last_part(photos, monkeypatch):
    monkeypatch.setattr(building, 'PART_BYTES', 6000)
    monkeypatch.setattr(building, '_BATCH', 1)
    files = []

    def dies(content):
        files.append(content)
        if len(files) == 6:
            raise KeyboardInterrupt
        return decode_image(content)

    monkeypatch.setattr(building, 'decode_image', dies)
    with pytest.raises(KeyboardInterrupt):
        build(photos)
    whole = parts(photos)
    assert whole and not list((photos.parent / 'cache').glob('*.tmp'))
    for name in whole:
        assert (photos.parent / 'cache' / name).stat().st_size <= 6000 + 128
    with pytest.raises(ValueError, match=r'is not complete: run tools/build_cache\.py'):
        ImageCache(photos.parent / 'cache')
    # What the system's kill leaves, which nothing can clean up behind.
    (photos.parent / 'cache/part-0009.npy.tmp').write_bytes(b'x')
    (photos.parent / 'cache/part-0007.npy').write_bytes(b'x')
    done = build(photos)
    assert 0 < done.made < 6 and done.images == 6
    assert not list((photos.parent / 'cache').glob('*.tmp')) and 'part-0007.npy' not in parts(
        photos
    )
    assert len(parts(photos)) > len(whole)
    check_all(photos)


def test_a_part_is_complete_after_some_time(photos, monkeypatch):
    monkeypatch.setattr(building, 'PART_SECONDS', -1)
    monkeypatch.setattr(building, '_BATCH', 2)
    build(photos)
    assert len(parts(photos)) == 3
    check_all(photos)


@pytest.mark.parametrize('damage', ['flipped', 'cut', 'gone', 'both gone', 'list', 'no json'])
def test_a_damaged_part_is_made_anew_under_a_number_of_its_own(photos, monkeypatch, capsys, damage):
    monkeypatch.setattr(building, 'PART_BYTES', 6000)
    monkeypatch.setattr(building, '_BATCH', 1)
    build(photos)
    numbers = parts(photos)
    assert len(numbers) == 3
    training = ImageCache(photos.parent / 'cache')  # which has opened nothing but the index
    training.read(str(photos / 'a/tall.png'))
    file = photos.parent / 'cache' / numbers[-1]
    description = file.with_suffix('.json')
    if damage == 'flipped':
        content = bytearray(file.read_bytes())
        content[-5] ^= 1
        file.write_bytes(content)
    elif damage == 'cut':
        file.write_bytes(file.read_bytes()[:-1])
    elif damage == 'gone':
        file.unlink()
    elif damage == 'both gone':
        file.unlink()
        description.unlink()
    elif damage == 'list':
        info = json.loads(description.read_text())
        info['records'] = ('0' if info['records'][0] != '0' else '1') + info['records'][1:]
        description.write_text(json.dumps(info))
    else:
        description.write_text('{')
    if damage in ('cut', 'gone', 'both gone'):
        with pytest.raises(RunError, match=rf'{numbers[-1]} cannot be read.*build_cache\.py'):
            for name in SHAPES:
                training.read(str(photos / name))
    done = build(photos)
    assert 0 < done.made < 6 and done.unused == 0
    told = f'{file} is left out and its images are made anew' in capsys.readouterr().out
    assert told == (damage != 'both gone')
    assert parts(photos) == [*numbers[:-1], 'part-0003.npy']
    check_all(photos)


@pytest.fixture
def faulty(photos):
    (photos / 'z').mkdir()
    generated.faulty_files(photos / 'z')
    return photos


@pytest.mark.parametrize('name', ['z/cut.jpg', 'z/empty.jpg', 'z/text.jpg'])
def test_faulty_files_follow_on_error_as_if_they_were_read(faulty, name):
    done = build(faulty)
    assert done[:3] == (9, 9, 3) and done.fault.startswith('z/cut.jpg: ')
    (faulty / name).rename(faulty / 'z/kept')
    with pytest.raises(RunError) as told:
        load(faulty, name)
    (faulty / 'z/kept').rename(faulty / name)
    with pytest.raises(RunError) as read:
        TRANSFORMS.build(dict(type='LoadImage')).transform(dict(img_path=str(faulty / name)))
    again = ' and run tools/build_cache.py again'
    assert str(told.value).replace(again, '') == str(read.value) and again in str(told.value)
    assert load(faulty, name, on_error='skip') is None
    assert is_blank(load(faulty, name, on_error='blank'))
    # Remembered, until the file is another.
    assert build(faulty).made == 0
    draw(faulty / 'z/good.png', (30, 30, 3))
    os.replace(faulty / 'z/good.png', faulty / name)
    assert build(faulty)[1:3] == (1, 2)
    assert load(faulty, name)['img_shape'] == (24, 24)


def test_files_that_cannot_be_opened_are_tried_again(photos, monkeypatch):
    def refuse(path, *args):
        if str(path).endswith('small.jpg'):
            raise PermissionError(13, 'Permission denied', path)
        return open(path, *args)

    monkeypatch.setattr(building, 'open', refuse, raising=False)
    assert build(photos)[:3] == (6, 6, 1)
    with pytest.raises(RunError, match='Permission denied'):
        load(photos, 'small.jpg')
    monkeypatch.undo()
    assert build(photos)[:3] == (6, 1, 0)
    check_all(photos)


def test_a_disk_that_has_gone_ends_it(photos, monkeypatch):
    def refuse(path, *args):
        raise OSError(5, 'Input/output error', path)

    monkeypatch.setattr(building, '_MAX_IN_A_ROW', 3)
    monkeypatch.setattr(building, 'open', refuse, raising=False)
    with pytest.raises(RunError, match=r'4 files in a row could not be opened, .*/photos/b/square'):
        build(photos)


def test_an_image_that_is_not_in_the_cache_is_an_error_with_a_remedy(photos, tmp_path):
    build(photos)
    draw(photos / 'new.png', (30, 30, 3))
    remedy = rf'run tools/build_cache\.py {photos} --out {tmp_path}/cache again'
    message = rf'new\.png is not in the cache {tmp_path}/cache: {remedy}'
    for on_error in ('raise', 'skip', 'blank'):
        with pytest.raises(RunError, match=message):
            load(photos, 'new.png', on_error=on_error)
    draw(tmp_path / 'other/small.jpg', (30, 30, 3))
    with pytest.raises(RunError, match=rf'which was made of {photos}: {remedy}'):
        load(tmp_path / 'other', 'small.jpg')


def test_paths_lead_to_an_image_by_any_way_through_the_folder(photos, tmp_path, monkeypatch):
    (tmp_path / 'elsewhere').mkdir()
    draw(tmp_path / 'elsewhere/x.png', (30, 30, 3), 3)
    (photos / 'linked').symlink_to(tmp_path / 'elsewhere')  # out of the folder
    (tmp_path / 'alias').symlink_to(photos)
    build(photos)
    cache = ImageCache(tmp_path / 'cache')
    monkeypatch.chdir(tmp_path / 'elsewhere')
    expected = reference(tmp_path / 'elsewhere/x.png')
    for path in (photos / 'linked/x.png', '../photos/linked/x.png', '../photos/a/../linked/x.png'):
        assert np.array_equal(cache.read(str(path)), expected)
    for path in (tmp_path / 'alias/small.jpg', '../alias/./small.jpg'):
        assert np.array_equal(cache.read(str(path)), reference(photos / 'small.jpg'))
    assert cache.covers(photos / 'a') and cache.covers('../alias') and cache.covers(photos)
    assert not cache.covers(tmp_path) and not cache.covers(tmp_path / 'photos2')
    # Folders that are remembered are few.
    monkeypatch.setattr(module, '_FOLDERS', 1)
    check_all(photos, cache)
    assert len(cache._folders) == 1


def test_a_folder_that_was_moved_needs_no_decoding(photos, tmp_path, monkeypatch):
    build(photos)
    photos.rename(tmp_path / 'moved')
    with pytest.raises(RunError, match='is not in the cache'):
        load(tmp_path / 'moved', 'small.jpg')
    assert build(tmp_path / 'moved').made == 0
    check_all(tmp_path / 'moved')
    draw(tmp_path / 'another/small.jpg', (30, 30, 3))
    with pytest.raises(ValueError, match=r'moved, none of which is in .*another with'):
        build(tmp_path / 'another')
    check_all(tmp_path / 'moved')


def test_workers_read_what_one_process_reads(photos):
    build(photos)
    dataset = DATASETS.build(
        dict(
            type='ImageFolder',
            data_root=str(photos),
            pipeline=[
                dict(type='LoadImage', cache=str(photos.parent / 'cache')),
                dict(type='Resize', scale=(20, 20)),
                dict(type='PackInputs'),
            ],
        )
    )
    alone = [item['inputs'] for item in dataset]  # opens files before the workers are forked
    loader = DataLoader(dataset, 2, num_workers=2, collate_fn=default_collate)
    found = [image for batch in loader for image in batch['inputs']]
    assert len(found) == 6 and all(map(np.array_equal, found, alone))


def test_nothing_open_is_pickled(photos):
    build(photos)
    cache = ImageCache(photos.parent / 'cache')
    small = len(pickle.dumps(cache))
    check_all(photos, cache)
    for again in (pickle.loads(pickle.dumps(cache)), copy.deepcopy(cache)):
        assert again._index is None and not again._files and not again._folders
        check_all(photos, again)
    assert len(pickle.dumps(cache)) == small < 500


def test_few_files_are_open_at_once(photos, monkeypatch):
    monkeypatch.setattr(building, 'PART_SECONDS', -1)
    monkeypatch.setattr(building, '_BATCH', 1)
    monkeypatch.setattr(module, '_FILES', 2)
    build(photos)
    assert len(parts(photos)) == 6
    cache = ImageCache(photos.parent / 'cache')
    check_all(photos, cache)
    check_all(photos, cache)
    assert len(cache._files) == 2


def test_limits_are_those_of_decoding(photos, monkeypatch):
    monkeypatch.setattr(building, 'decode_image', lambda content: decode_image(content, 2000))
    assert build(photos).faulty == 3  # of more pixels
    with pytest.raises(RunError, match='million pixels'):
        load(photos, 'a/wide.jpg')


def test_names_that_are_no_utf8_and_reasons_with_any_letters(photos, monkeypatch):
    path = os.fsdecode(os.fsencode(photos) + b'/\xff\xfe.png')
    shutil.copy(photos / 'grey.png', path)
    build(photos)
    assert np.array_equal(ImageCache(photos.parent / 'cache').read(path), reference(path))

    def refuse(content):
        raise ValueError('schlecht: ü \udcff')

    os.utime(path, ns=(0, 0))
    monkeypatch.setattr(building, 'decode_image', refuse)
    assert build(photos).faulty == 1
    with pytest.raises(ValueError, match=r'schlecht: ü \\udcff'):
        ImageCache(photos.parent / 'cache').read(path)


def test_a_full_disk_is_told_before_or_in_one_line(photos, monkeypatch):
    usage = shutil.disk_usage(photos)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage._replace(free=10_000))
    with pytest.raises(ValueError, match=r'6 images take about 0\.0 MB, .* has 0\.0 MB'):
        build(photos)
    monkeypatch.undo()

    def full(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(building.ArrayWriter, 'append', full)
    with pytest.raises(RunError, match=r'could not write to .*cache: No space left on device'):
        build(photos)
    monkeypatch.undo()
    build(photos)
    check_all(photos)


def test_mistakes_are_told_before_anything_is_written(photos, tmp_path):
    out = tmp_path / 'cache'
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full/x').touch()
    (tmp_path / 'alias').symlink_to(photos)
    for folder, to, kwargs, error, message in (
        (photos, out, dict(short_side=0), ValueError, '--short-side must be at least 1, got 0'),
        (photos, out, dict(num_workers=-1), ValueError, '--num-workers must be at least 0, got -1'),
        (tmp_path / 'no', out, {}, FileNotFoundError, 'no does not exist or is no folder'),
        (tmp_path / 'empty', out, {}, FileNotFoundError, 'empty holds no images'),
        (photos, photos, {}, ValueError, 'lies in .*: give a folder outside the images'),
        (photos, tmp_path / 'alias/a/cache', {}, ValueError, 'outside the images'),
        (photos, tmp_path / 'full', {}, ValueError, 'is no cache of images'),
        (photos, tmp_path / 'full/x', {}, ValueError, 'is no cache of images'),
    ):
        with pytest.raises(error, match=message):
            build_cache(folder, to, **kwargs)
    assert not out.exists()
    build(photos)
    with pytest.raises(ValueError, match='was made with --short-side 24, not 20: give another'):
        build(photos, short_side=20)
    check_all(photos)


def test_what_is_no_cache_is_told_when_the_pipeline_is_built(photos, tmp_path):
    message = r'photos is no cache of images: run tools/build_cache\.py FOLDER --out .*photos'
    with pytest.raises(ValueError, match=message):
        TRANSFORMS.build(dict(type='LoadImage', cache=str(photos)))
    build(photos)
    settings = tmp_path / 'cache/cache.json'
    for text in ('{', '{"format": 2}', '[]'):
        settings.write_text(text)
        with pytest.raises(ValueError, match=r'cache\.json cannot be read .*make it anew'):
            ImageCache(tmp_path / 'cache')


def test_a_damaged_index_is_told(photos, tmp_path):
    build(photos)
    index = tmp_path / 'cache/index'
    for content in (b'', b'1234567', index.read_bytes()[:100]):
        index.write_bytes(content)
        with pytest.raises(RunError, match=r'index of .* cannot be read .*: run tools/build_cache'):
            ImageCache(tmp_path / 'cache').read(str(photos / 'small.jpg'))
    assert build(photos).made == 0  # the parts are whole
    check_all(photos)


def test_the_index_takes_36_bytes_an_image(photos, tmp_path):
    build(photos)
    assert (tmp_path / 'cache/index').stat().st_size == 8 + 36 * 6


def test_decoding_is_by_opencv_where_it_is_by_opencv(photos):
    """The reference is not only the same call: libjpeg's pixels, to which nothing was done."""
    build(photos)
    image = cv2.imread(str(photos / 'small.jpg'))
    assert np.array_equal(load(photos, 'small.jpg')['img'], image)
