import os

import generated
import numpy as np
import pytest
import torch
from helpers import ROOT
from mmengine.config import Config
from mmpretrain.registry import DATASETS, MODELS

import cdc_mm.apis as apis
from cdc_mm.errors import RunError
from cdc_mm.features import extractor as module
from cdc_mm.features import labelled_rows, multi_hot


@pytest.fixture
def cfg(tmp_path):
    """CDC on a folder of eight images a split."""
    cfg = Config.fromfile(ROOT / 'configs/cdc_r18_cifar10_folder.py')
    root = str(generated.image_folder(tmp_path / 'data'))
    cfg.model.backbone = dict(type='SmallConvNet', channels=(4, 8), strides=(2, 2))
    cfg.model.neck.in_channels = 8
    cfg.model.queue_size = 20
    for field in ('train_dataloader', 'test_dataloader'):
        cfg[field].dataset.data_root = root
        cfg[field].update(batch_size=3, num_workers=0)
    return cfg


@pytest.fixture
def checkpoint(cfg, tmp_path):
    return save(cfg, tmp_path / 'x.pth')


def save(cfg, path, seed=0):
    torch.manual_seed(seed)
    model = MODELS.build({'data_preprocessor': cfg.data_preprocessor, **cfg.model})
    torch.save(dict(state_dict=model.state_dict()), path)
    return str(path)


@pytest.fixture
def encoded(monkeypatch):
    """How many images have passed the network to become rows: sum() it."""
    count = []
    plain = module.model_rows

    def counted(model, images, output):
        count.append(len(images))
        return plain(model, images, output)

    monkeypatch.setattr(module, 'model_rows', counted)
    # Those that it tries a copy with become none.
    monkeypatch.setattr(module, 'inference_copy', lambda model, *_: model)
    return count


def extractor(cfg, checkpoint, tmp_path, **kwargs):
    return apis.FeatureExtractor(cfg, checkpoint, cache_dir=tmp_path / 'cache', **kwargs)


def test_nothing_is_said_of_many_data_workers(cfg, checkpoint, tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr('os.sched_getaffinity', lambda _: {0})
    cfg.test_dataloader.num_workers = 2
    assert len(extractor(cfg, checkpoint, tmp_path)('test').rows) == 8
    assert not [w for w in recwarn if 'will create' in str(w.message)]


@pytest.mark.parametrize('output', ['backbone', 'zc'])
def test_pooledare_the_networks_in_the_order_of_the_data(cfg, checkpoint, tmp_path, output):
    extract = extractor(cfg, checkpoint, tmp_path, output=output)
    assert extract.labels == dict(train=[0] * 4 + [1] * 4, test=[0] * 4 + [1] * 4)
    assert tuple(extract.classes) == ('a', 'b')

    model = MODELS.build({'data_preprocessor': cfg.data_preprocessor, **cfg.model}).eval()
    model.load_state_dict(torch.load(checkpoint)['state_dict'])
    for split in ('train', 'test'):
        rows, labels, images = extract(split)
        assert labels == extract.labels[split] and len(images) == 8
        assert isinstance(rows, np.memmap) and rows.dtype == np.float32
        dataset = extract._datasets[split]
        for i in range(8):
            image = dataset[i]['inputs'][None].flip(1).float()  # BGR to RGB
            image = (image - model.data_preprocessor.mean) / model.data_preprocessor.std
            with torch.no_grad():
                feature_map = model.backbone(image)[0]
                pooled = feature_map.mean((2, 3))
                zc = model.embed(pooled)['zc']
            expected = zc if output == 'zc' else pooled
            np.testing.assert_allclose(rows[i], expected[0], atol=1e-5)


def test_labels_that_training_must_not_see_serve_evaluation(cfg, checkpoint, tmp_path):
    assert cfg.train_dataloader.dataset.with_label is False
    assert extractor(cfg, checkpoint, tmp_path).labels['train'] == [0] * 4 + [1] * 4


def test_a_second_run_reads_the_cache(cfg, checkpoint, tmp_path, encoded):
    first = np.array(extractor(cfg, checkpoint, tmp_path)('test').rows)
    second = extractor(cfg, checkpoint, tmp_path)('test').rows
    assert sum(encoded) == 8 and np.array_equal(first, second)
    (store,) = (tmp_path / 'cache').iterdir()
    assert sorted(path.name for path in store.iterdir()) == [
        'lock', 'part-0000.json', 'part-0000.npy', 'settings.json',
    ]  # fmt: skip


def test_unreadable_images_are_left_out(cfg, checkpoint, tmp_path, encoded, capsys):
    whole = np.array(extractor(cfg, checkpoint, tmp_path)('test').rows)
    faulty = sorted((tmp_path / 'data/test').glob('*/*'))[3:6]  # a whole batch of them
    for path in faulty:
        path.write_bytes(b'no image')
    kept = [0, 1, 2, 6, 7]
    for _ in range(2):  # tried, then remembered
        capsys.readouterr()
        rows, labels, images = extractor(cfg, checkpoint, tmp_path)('test')
        np.testing.assert_allclose(rows, whole[kept], atol=1e-6)
        assert labels == [0, 0, 0, 1, 1] and not set(images) & set(map(str, faulty))
        assert f'test: 3 images could not be read and are left out: {faulty[0]}, ' in (
            capsys.readouterr().out
        )
    assert sum(encoded) == 8 + 3
    # Mended, it is read.
    faulty[0].write_bytes((faulty[0].parent / '0.jpg').read_bytes())
    assert len(extractor(cfg, checkpoint, tmp_path)('test').rows) == 6
    assert sum(encoded) == 8 + 3 + 1


def test_no_readable_image(cfg, checkpoint, tmp_path):
    for path in (tmp_path / 'data/test').glob('*/*'):
        path.write_bytes(b'no image')
    with pytest.raises(RunError, match='none of the images could be read'):
        extractor(cfg, checkpoint, tmp_path)('test')


def _new_checkpoint(cfg, checkpoint, image):
    save(cfg, checkpoint, seed=1)
    return 8


def _new_image(cfg, checkpoint, image):
    changed = image.stat().st_mtime_ns
    image.write_bytes((image.parent / '1.jpg').read_bytes())
    os.utime(image, ns=(changed + 1, changed + 1))
    return 1


def _new_file_of_the_same_time(cfg, checkpoint, image):
    changed = image.stat().st_mtime_ns
    image.write_bytes(image.read_bytes() + b'\0')
    os.utime(image, ns=(changed, changed))
    return 1


def _one_image_less(cfg, checkpoint, image):
    image.unlink()
    return 0


def _one_image_more(cfg, checkpoint, image):
    (image.parent / '01.jpg').write_bytes((image.parent / '2.jpg').read_bytes())
    return 1


def _new_preprocessing(cfg, checkpoint, image):
    cfg.data_preprocessor.mean = [0.0, 0.0, 0.0]
    return 8


def _new_pipeline(cfg, checkpoint, image):
    cfg.test_dataloader.dataset.pipeline.insert(1, dict(type='Resize', scale=16))
    return 8


@pytest.mark.parametrize(
    'change',
    [
        _new_checkpoint,
        _new_image,
        _new_file_of_the_same_time,
        _one_image_less,
        _one_image_more,
        _new_preprocessing,
        _new_pipeline,
    ],
)
def test_a_stale_row_is_never_used(cfg, checkpoint, tmp_path, encoded, change):
    """And nothing is made twice: rows equal those of an empty cache."""
    before = np.array(extractor(cfg, checkpoint, tmp_path)('test').rows)
    new = change(cfg, checkpoint, tmp_path / 'data/test/a/0.jpg')
    extract = extractor(cfg, checkpoint, tmp_path)
    after = extract('test').rows
    assert sum(encoded) == 8 + new and len(after) == len(extract.labels['test'])
    # A byte after the end of the file is no other image, which only its pixels could tell.
    if change is not _new_file_of_the_same_time:
        assert not np.array_equal(before, after)
    fresh = apis.FeatureExtractor(cfg, checkpoint, cache_dir=tmp_path / 'fresh')('test').rows
    np.testing.assert_allclose(after, fresh, atol=1e-6)


@pytest.mark.parametrize('kwargs', [dict(output='zn'), dict(dtype='float16'), dict(bf16=True)])
def test_settings_have_their_own_cache(cfg, checkpoint, tmp_path, encoded, kwargs):
    plain = extractor(cfg, checkpoint, tmp_path)('test').rows
    other = extractor(cfg, checkpoint, tmp_path, **kwargs)('test').rows
    assert sum(encoded) == 16
    assert other.dtype == kwargs.get('dtype', 'float32')
    if 'output' not in kwargs:
        assert not np.array_equal(plain, other)
        np.testing.assert_allclose(plain, other, rtol=0.05, atol=0.02)


def test_data_sets_of_arrays_are_told_apart_by_their_pixels(tmp_path, encoded, monkeypatch):
    cfg = Config.fromfile(ROOT / 'configs/cdc_digits.py')
    cfg.model.backbone.channels = [4, 4, 4, 4]
    cfg.model.neck.in_channels = 4
    for field in ('train_dataloader', 'test_dataloader'):
        cfg[field].dataset.indices = 20
    checkpoint = save(cfg, tmp_path / 'x.pth')
    extractor(cfg, checkpoint, tmp_path)('test')
    extractor(cfg, checkpoint, tmp_path)('test')
    assert sum(encoded) == 20
    plain = cdc_digits_list()
    monkeypatch.setattr(
        'cdc_mm.datasets.digits.Digits.load_data_list',
        lambda self: [dict(info, img=255 - info['img']) for info in plain(self)],
    )
    extractor(cfg, checkpoint, tmp_path)('test')
    assert sum(encoded) == 40


def cdc_digits_list():
    from cdc_mm.datasets import Digits

    return Digits.load_data_list


def test_refuses_another_architecture_before_work(cfg, checkpoint, tmp_path):
    cfg.model.backbone.channels = (4, 16)
    cfg.model.neck.in_channels = 16
    with pytest.raises(ValueError, match='another architecture'):
        extractor(cfg, checkpoint, tmp_path)
    with pytest.raises(ValueError, match='another architecture'):
        extractor(cfg, checkpoint, tmp_path, output='z')


def test_refuses_a_half_filled_checkpoint(cfg, checkpoint, tmp_path):
    state = torch.load(checkpoint)['state_dict']
    half = {k: v for k, v in state.items() if not k.startswith('encoder.backbone.layers.1')}
    torch.save(half, tmp_path / 'half.pth')
    with pytest.raises(ValueError, match='fills 5 of the 10 weights'):
        extractor(cfg, str(tmp_path / 'half.pth'), tmp_path)


def test_refuses_unknown_settings(cfg, checkpoint, tmp_path):
    with pytest.raises(ValueError, match='CDC has no x; it has backbone, z, zc, zn'):
        extractor(cfg, checkpoint, tmp_path, output='x')
    with pytest.raises(ValueError, match='dtype must be float32 or float16, got int8'):
        extractor(cfg, checkpoint, tmp_path, dtype='int8')
    # A file of which only the backbone was read says nothing of z.
    with pytest.raises(ValueError, match='output must be one of backbone, got z'):
        extractor(cfg, checkpoint, tmp_path)('test', output='z')


def test_splits_share_what_they_have_in_common(cfg, checkpoint, tmp_path, encoded):
    cfg.test_dataloader.dataset.data_prefix = cfg.train_dataloader.dataset.data_prefix
    extract = extractor(cfg, checkpoint, tmp_path)
    assert np.array_equal(extract('train').rows, extract('test').rows) and sum(encoded) == 8


@pytest.mark.parametrize('num_workers', [0, 2])
def test_views_are_those_of_training_and_repeat(cfg, checkpoint, tmp_path, num_workers):
    # No image stays as it is by chance, which follows from its path and time.
    for view in cfg.data_preprocessor.views.values():
        view.jitter.p = 1.0
    plain = np.array(extractor(cfg, checkpoint, tmp_path, output='zn')('test').rows)
    rows = {}
    for batch_size in (3, 8):
        cfg.test_dataloader.batch_size, cfg.test_dataloader.num_workers = batch_size, num_workers
        extract = apis.FeatureExtractor(
            cfg, checkpoint, 'zn', cache_dir=tmp_path / f'cache{batch_size}'
        )
        rows[batch_size] = [np.array(extract('test', view=view).rows) for view in (0, 1)]
    np.testing.assert_allclose(rows[3], rows[8], atol=1e-5)
    for a, b in ((plain, rows[3][0]), (plain, rows[3][1]), rows[3]):
        assert (a * b).sum(1).max() < 1 - 1e-6


def test_takes_the_view_that_is_asked_for(cfg, checkpoint, tmp_path):
    """Views that only mirror: of the second, rows are those of mirrored images."""
    for view, p in (('view1', 0.0), ('view2', 1.0)):
        cfg.data_preprocessor.views[view] = [dict(type='kornia/RandomHorizontalFlip', p=p)]
    cfg.train_dataloader.dataset.pipeline = cfg.test_dataloader.dataset.pipeline
    extract = extractor(cfg, checkpoint, tmp_path)
    np.testing.assert_allclose(extract('test', view=0).rows, extract('test').rows, atol=1e-5)
    second = np.array(extract('test', view=1).rows)
    flip = dict(type='RandomFlip', prob=1.0)
    cfg.test_dataloader.dataset.pipeline.insert(1, flip)
    mirrored = extractor(cfg, checkpoint, tmp_path)('test').rows
    np.testing.assert_allclose(second, mirrored, atol=1e-5)
    assert not np.allclose(second, extract('test').rows, atol=1e-3)


@pytest.mark.parametrize('with_cls_token', [True, False])
def test_tokens_are_pooled(cfg, checkpoint, tmp_path, with_cls_token):
    cfg.data_preprocessor = dict(mean=[9.0] * 3, std=[7.0] * 3)
    cfg.model = dict(
        type='ImageClassifier',
        backbone=dict(
            type='VisionTransformer',
            arch=dict(embed_dims=8, num_layers=1, num_heads=2, feedforward_channels=8),
            img_size=32,
            patch_size=8,
            out_type='raw',
            with_cls_token=with_cls_token,
        ),
    )
    path = save(cfg, tmp_path / 'vit.pth')
    rows = apis.FeatureExtractor(cfg, path, cache_dir=tmp_path / 'cache')('test').rows
    model = MODELS.build({'data_preprocessor': cfg.data_preprocessor, **cfg.model}).eval()
    model.load_state_dict(torch.load(path)['state_dict'])
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    images = torch.stack([dataset[i]['inputs'] for i in range(8)])
    images = model.data_preprocessor(dict(inputs=images))['inputs']
    with torch.no_grad():
        tokens = model.backbone(images)[-1]
    expected = tokens[:, 0] if with_cls_token else tokens.mean(1)
    assert tokens.ndim == 3 and rows.shape == (8, 8)
    np.testing.assert_allclose(rows, expected, atol=1e-5)


def test_labelled_rows():
    rows = np.arange(8).reshape(4, 2)
    every = labelled_rows([1, 0, 2, 1], 'test')
    assert every.select(rows) is rows and every.labels.tolist() == [1, 0, 2, 1]
    some = labelled_rows([1, None, -1, 0], 'test')
    assert some.select(rows).tolist() == [[0, 1], [6, 7]] and some.labels.tolist() == [1, 0]
    with pytest.raises(ValueError, match='1 of the 2 training images have a label, and 2 are'):
        labelled_rows([None, 3], 'training', at_least=2)
    with pytest.raises(ValueError, match='several labels'):
        labelled_rows([[1, 2]], 'test')


def test_multi_hot():
    assert multi_hot([[0, 2], [], [1]], 3, 'test').tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    with pytest.raises(ValueError, match='the training data is not multi-label'):
        multi_hot([1, 2], 3, 'training')
