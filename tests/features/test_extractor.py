import os

import generated
import numpy as np
import pytest
import torch
from helpers import ROOT
from mmengine.config import Config
from mmpretrain.registry import MODELS

import cdc_mm.apis as apis
from cdc_mm.errors import RunError
from cdc_mm.features import labelled_rows, multi_hot, write_rows


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
def forwards(monkeypatch):
    """How often a network ran over a split."""
    count = []
    plain = apis.iterate_outputs

    def counted(*args):
        count.append(1)
        return plain(*args)

    monkeypatch.setattr('cdc_mm.features.extractor.iterate_outputs', counted)
    return count


def extractor(cfg, checkpoint, tmp_path, **kwargs):
    return apis.FeatureExtractor(cfg, checkpoint, cache_dir=tmp_path / 'cache', **kwargs)


@pytest.mark.parametrize('output', ['backbone', 'zc'])
def test_rows_are_the_networks_in_the_order_of_the_data(cfg, checkpoint, tmp_path, output):
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
                features = model.backbone(image)
                zc = model.head.normalize(model.extract_z(features))[:, :10]
            expected = zc if output == 'zc' else features[0].mean((2, 3))
            np.testing.assert_allclose(rows[i], expected[0], atol=1e-5)


def test_labels_that_training_must_not_see_serve_evaluation(cfg, checkpoint, tmp_path):
    assert cfg.train_dataloader.dataset.with_label is False
    assert extractor(cfg, checkpoint, tmp_path).labels['train'] == [0] * 4 + [1] * 4


def test_a_second_run_reads_the_cache(cfg, checkpoint, tmp_path, forwards):
    first = np.array(extractor(cfg, checkpoint, tmp_path)('test').rows)
    second = extractor(cfg, checkpoint, tmp_path)('test').rows
    assert len(forwards) == 1 and np.array_equal(first, second)
    assert [path.suffix for path in (tmp_path / 'cache').iterdir()] == ['.npy']


def test_unreadable_images_are_left_out(cfg, checkpoint, tmp_path, forwards, capsys):
    whole = np.array(extractor(cfg, checkpoint, tmp_path)('test').rows)
    faulty = sorted((tmp_path / 'data/test').glob('*/*'))[3:6]  # a whole batch of them
    for path in faulty:
        path.write_bytes(b'no image')
    kept = [0, 1, 2, 6, 7]
    for _ in range(2):  # computed, then from the cache
        capsys.readouterr()
        rows, labels, images = extractor(cfg, checkpoint, tmp_path)('test')
        np.testing.assert_allclose(rows, whole[kept], atol=1e-6)
        assert labels == [0, 0, 0, 1, 1] and not set(images) & set(map(str, faulty))
        assert f'3 images could not be read and are left out, such as {faulty[0]}' in (
            capsys.readouterr().out
        )
    assert len(forwards) == 2


def test_no_readable_image(cfg, checkpoint, tmp_path):
    for path in (tmp_path / 'data/test').glob('*/*'):
        path.write_bytes(b'no image')
    with pytest.raises(RunError, match='none of the images could be read'):
        extractor(cfg, checkpoint, tmp_path)('test')


def _new_checkpoint(cfg, checkpoint, image):
    save(cfg, checkpoint, seed=1)


def _new_image(cfg, checkpoint, image):
    changed = image.stat().st_mtime_ns
    image.write_bytes((image.parent / '1.jpg').read_bytes())
    os.utime(image, ns=(changed + 1, changed + 1))


def _new_file_of_the_same_time(cfg, checkpoint, image):
    changed = image.stat().st_mtime_ns
    image.write_bytes(image.read_bytes() + b'\0')
    os.utime(image, ns=(changed, changed))


def _one_image_less(cfg, checkpoint, image):
    image.unlink()


def _new_preprocessing(cfg, checkpoint, image):
    cfg.data_preprocessor.mean = [0.0, 0.0, 0.0]


def _new_pipeline(cfg, checkpoint, image):
    cfg.test_dataloader.dataset.pipeline.insert(1, dict(type='Resize', scale=16))


@pytest.mark.parametrize(
    'change',
    [
        _new_checkpoint,
        _new_image,
        _new_file_of_the_same_time,
        _one_image_less,
        _new_preprocessing,
        _new_pipeline,
    ],
)
def test_a_stale_cache_is_never_used(cfg, checkpoint, tmp_path, forwards, change):
    before = np.array(extractor(cfg, checkpoint, tmp_path)('test').rows)
    change(cfg, checkpoint, tmp_path / 'data/test/a/0.jpg')
    extract = extractor(cfg, checkpoint, tmp_path)
    after = extract('test').rows
    assert len(forwards) == 2 and len(after) == len(extract.labels['test'])
    # A byte after the end of the file is no other image, which only its pixels could tell.
    if change is not _new_file_of_the_same_time:
        assert not np.array_equal(before, after)


@pytest.mark.parametrize('kwargs', [dict(output='zn'), dict(dtype='float16'), dict(bf16=True)])
def test_settings_have_their_own_cache(cfg, checkpoint, tmp_path, forwards, kwargs):
    plain = extractor(cfg, checkpoint, tmp_path)('test').rows
    other = extractor(cfg, checkpoint, tmp_path, **kwargs)('test').rows
    assert len(forwards) == 2
    assert other.dtype == kwargs.get('dtype', 'float32')
    if 'output' not in kwargs:
        assert not np.array_equal(plain, other)
        np.testing.assert_allclose(plain, other, rtol=0.05, atol=0.02)


def test_data_sets_of_arrays_are_told_apart_by_their_pixels(tmp_path, forwards, monkeypatch):
    cfg = Config.fromfile(ROOT / 'configs/cdc_digits.py')
    cfg.model.backbone.channels = [4, 4, 4, 4]
    cfg.model.neck.in_channels = 4
    for field in ('train_dataloader', 'test_dataloader'):
        cfg[field].dataset.indices = 20
    checkpoint = save(cfg, tmp_path / 'x.pth')
    extractor(cfg, checkpoint, tmp_path)('test')
    extractor(cfg, checkpoint, tmp_path)('test')
    assert len(forwards) == 1
    plain = cdc_digits_list()
    monkeypatch.setattr(
        'cdc_mm.datasets.digits.Digits.load_data_list',
        lambda self: [dict(info, img=255 - info['img']) for info in plain(self)],
    )
    extractor(cfg, checkpoint, tmp_path)('test')
    assert len(forwards) == 2


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
    half = {k: v for k, v in state.items() if not k.startswith('backbone.layers.1')}
    torch.save(half, tmp_path / 'half.pth')
    with pytest.raises(ValueError, match='fills 5 of the 10 weights'):
        extractor(cfg, str(tmp_path / 'half.pth'), tmp_path)


@pytest.mark.parametrize('kwargs', [dict(output='x'), dict(dtype='int8')])
def test_refuses_unknown_settings(cfg, checkpoint, tmp_path, kwargs):
    with pytest.raises(ValueError, match='must be'):
        extractor(cfg, checkpoint, tmp_path, **kwargs)


def test_an_interrupted_write_leaves_nothing(tmp_path):
    def batches():
        yield np.ones((2, 3), np.float32)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_rows(tmp_path / 'x.npy', batches(), 'float32')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('value', 'dtype', 'advice'),
    [(1e6, 'float16', 'use float32'), (np.nan, 'float32', 'diverged')],
)
def test_refuses_rows_that_are_not_finite(tmp_path, value, dtype, advice):
    rows = np.full((2, 3), value, np.float32)
    with pytest.raises(RunError, match=advice):
        write_rows(tmp_path / 'x.npy', [rows], dtype)


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
