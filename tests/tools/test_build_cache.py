"""tools/build_cache.py, and training and testing from what it made."""

import importlib.util

import generated
import pytest
from helpers import ROOT

from cdc_mm.apis import read_config

CONFIG = 'configs/cdc_r18_folder.py'
SMALL = [
    'epochs=1', 'batch_size=16', 'num_workers=0', 'image_size=32', 'num_clusters=3',
    'model.backbone.stem_channels=4', 'model.backbone.base_channels=4',
    'model.neck.in_channels=32', 'model.queue_size=8', 'train_cfg.val_interval=1',
]  # fmt: skip


def test_training_and_validation_take_images_from_the_cache_alone(call, tmp_path, capsys):
    photos = generated.image_folder(tmp_path / 'photos', images_per_class=8, size=44)
    (photos / 'train/a/faulty.jpg').write_text('no image')
    cache = tmp_path / 'cache'
    arguments = (photos, '--out', cache, '--short-side', 40, '--num-workers', 0)
    call('build_cache', *arguments, options=None)
    shown = capsys.readouterr().out
    assert f'{cache}: 33 images, 0.2 MB; 33 made\n1 cannot be read, such as train/a/faulty' in shown
    assert f'to use it: --cfg-options image_cache={cache}\n' in shown
    call('build_cache', *arguments, options=None)
    assert '; 0 made\n' in capsys.readouterr().out
    for path in photos.rglob('*.jpg'):
        path.write_bytes(b'')  # only its name is there
    options = [*SMALL, f'data_root={photos}', f'image_cache={cache}']
    call('train', CONFIG, '--work-dir', tmp_path / 'run',
         options=[*options, 'val_dataloader.dataset.pipeline.0.on_error=blank'])  # fmt: skip
    assert (tmp_path / 'run/epoch_1.pth').is_file()
    assert (
        f'{photos}/train/a/faulty.jpg\tit is no image'
        in next((tmp_path / 'run').rglob('faulty_images.txt')).read_text()
    )


def test_other_images_are_tested_from_their_files(call, tmp_path, monkeypatch):
    photos = generated.image_folder(tmp_path / 'photos', images_per_class=1)
    call('build_cache', photos, '--out', tmp_path / 'cache', '--num-workers', 0, options=None)
    monkeypatch.syspath_prepend(ROOT / 'tools')
    spec = importlib.util.spec_from_file_location('tools_test', ROOT / 'tools/test.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    for folder, kept in ((photos, True), (photos / 'test/a', True), (tmp_path, False)):
        cfg = read_config(CONFIG, dict(image_cache=str(tmp_path / 'cache')))
        tool.use_folder(cfg, str(folder))
        load = cfg.test_dataloader.dataset.pipeline[0]
        assert load.type == 'LoadImage' and (load.cache is not None) == kept


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('no', '--out', 'cache'), r'no does not exist or is no folder'),
        (('photos', '--out', 'photos/cache'), r'lies in .*photos: give a folder outside'),
        (('photos', '--out', 'cache', '--short-side', '0'), '--short-side must be at least 1'),
    ],
)
def test_mistakes_are_told_in_one_line(call, tmp_path, arguments, message):
    generated.image_folder(tmp_path / 'photos', images_per_class=1)
    paths = [tmp_path / word if word.isalpha() or '/' in word else word for word in arguments]
    with pytest.raises(SystemExit, match=f'error: .*{message}'):
        call('build_cache', *paths, options=None)


@pytest.mark.parametrize(
    ('config', 'loaders'),
    [
        ('cdc_r50_imagenet', ('train', 'val', 'test')),
        ('cdc_r50_imagenet_mocov3', ('train', 'val', 'test')),
        ('baselines/simclr/simclr_r50_imagenet', ('train',)),
        ('linear/linear_r50_imagenet_adco', ('train', 'val', 'test')),
    ],
)
def test_one_name_reaches_the_pipelines_of_a_config(config, loaders):
    for cache in (None, 'CACHE'):
        cfg = read_config(f'configs/{config}.py', dict(image_cache=cache) if cache else {})
        for name in loaders:
            assert cfg[f'{name}_dataloader'].dataset.pipeline[0].cache == cache, name


def test_a_cache_that_is_none_is_told_before_training(call, tmp_path):
    photos = generated.image_folder(tmp_path / 'photos', images_per_class=8, size=44)
    with pytest.raises(SystemExit, match=r'is no cache of images: run tools/build_cache\.py'):
        call('train', CONFIG, '--work-dir', tmp_path / 'run',
             options=[*SMALL, f'data_root={photos}', f'image_cache={tmp_path}/no'])  # fmt: skip
