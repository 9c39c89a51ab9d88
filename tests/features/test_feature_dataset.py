from types import SimpleNamespace

import cv2
import generated
import numpy as np
import pytest
import torch
from helpers import TINY_CDC, make_runner, make_scan, run_ranks
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS, HOOKS, MODELS
from torch.utils.data import DataLoader

from cdc_mm.features import EncoderRows, FeatureExtractor, encoder_pipeline
from cdc_mm.features import encoder_rows as module
from cdc_mm.models.utils import inference_copy
from cdc_mm.wrappers import unwrap_model

MEAN, STD = [120.0, 110.0, 100.0], [60.0, 55.0, 50.0]
JITTER = dict(
    flip=dict(type='kornia/RandomHorizontalFlip', p=0.5),
    color=dict(type='kornia/ColorJitter', brightness=0.4, hue=0.1, p=1.0),
)


def encoder_cfg(**kwargs):
    return dict(
        type='Encoder',
        backbone=dict(type='SmallConvNet', channels=(4, 8), strides=(2, 2)),
        mean=MEAN,
        std=STD,
        freeze=True,
        **kwargs,
    )


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    encoder = MODELS.build(encoder_cfg())
    path = tmp_path / 'weights.pth'
    torch.save({f'backbone.{k}': v for k, v in encoder.backbone.state_dict().items()}, path)
    return str(path)


@pytest.fixture
def root(tmp_path):
    return generated.image_folder(tmp_path / 'data')


def cfg_of(root, weights, tmp_path, **kwargs):
    return {
        **dict(
            type='FeatureDataset',
            dataset=dict(
                type='ImageFolder', data_root=str(root / 'train'), pipeline=encoder_pipeline(28)
            ),
            encoder=encoder_cfg(weights=weights),
            store_dir=str(tmp_path / 'store'),
            batch_size=3,
            num_workers=0,
        ),
        **kwargs,
    }


def build(*args, **kwargs):
    return DATASETS.build(cfg_of(*args, **kwargs))


@pytest.fixture
def encoded(monkeypatch):
    """How many images were to be made rows of."""
    plain, count = module.fill_store, []

    def counted(store, images, *args):
        count.append(len(store.missing(images.ids)))
        return plain(store, images, *args)

    monkeypatch.setattr(module, 'fill_store', counted)
    return count


def batch_of(dataset, batch_size=8, **kwargs):
    loader = Runner.build_dataloader(
        dict(
            dataset=dataset,
            batch_size=batch_size,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
        )
    )
    return next(iter(loader))


def test_rows_are_the_encoders(root, weights, tmp_path):
    dataset = build(root, weights, tmp_path)
    assert len(dataset) == 8 and dataset.feat_dim == 8 and dataset.view_names == ()
    assert dataset.metainfo['classes'] == ('a', 'b')
    batch = batch_of(dataset)
    encoder = MODELS.build(encoder_cfg(weights=weights))
    encoder.init_weights()
    images = DATASETS.build(cfg_of(root, weights, tmp_path)['dataset'])
    for i, (row, sample) in enumerate(zip(batch['inputs'], batch['data_samples'])):
        item = images[i]
        pixels = item['inputs'].flip(0).float()  # BGR to RGB
        mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
        with torch.no_grad():
            expected = encoder(((pixels - mean) / std)[None])[0]
        assert torch.allclose(row, expected, atol=1e-5)
        assert sample.sample_idx == i and int(sample.gt_label) == i // 4
        assert sample.img_path == item['data_samples'].img_path
        info = dataset.get_data_info(i)
        assert info['img_path'] == sample.img_path and info['sample_idx'] == i


def test_views_come_from_their_sources(root, weights, tmp_path):
    dataset = build(
        root, weights, tmp_path, num_views=3, num_neighbors=2, augment=JITTER,
        views=dict(view1='augmented', view2='augmented', weak='image', neighbor='neighbor'),
    )  # fmt: skip
    assert dataset.view_names == ('view1', 'view2', 'weak', 'neighbor')
    rows = batch_of(build(root, weights, tmp_path))['inputs']
    seen, pairs = [set() for _ in range(8)], set()
    for _ in range(30):
        batch = batch_of(dataset)
        inputs = batch['inputs']
        assert list(inputs) == [*dataset.view_names, 'sample_idx']
        assert inputs['sample_idx'].tolist() == list(range(8))
        assert torch.equal(inputs['weak'], rows)
        for i in range(8):
            first, second = (
                next(v for v in range(3) if np.array_equal(dataset._augmented[v][i], view[i]))
                for view in (inputs['view1'], inputs['view2'])
            )
            assert first != second
            pairs.add((first, second))
            near = [j for j in dataset._neighbors[i] if torch.equal(rows[j], inputs['neighbor'][i])]
            assert len(near) == 1 and near[0] != i
            seen[i].add(near[0])
    assert len(pairs) == 6 and all(len(found) == 2 for found in seen)
    similarity = torch.nn.functional.normalize(rows) @ torch.nn.functional.normalize(rows).T
    similarity.fill_diagonal_(-2)
    assert seen == [set(row.tolist()) for row in similarity.topk(2).indices]


def test_only_what_is_new_is_encoded(root, weights, tmp_path, encoded):
    views = dict(view1='augmented', view2='augmented')
    kwargs = dict(views=views, num_views=2, augment=JITTER)
    first = build(root, weights, tmp_path, **kwargs)
    assert encoded == [8, 8, 8]
    encoded.clear()
    second = build(root, weights, tmp_path, **kwargs)
    assert encoded == [0, 0, 0]
    for a, b in zip((first._rows, *first._augmented), (second._rows, *second._augmented)):
        assert np.array_equal(a, b)
    encoded.clear()
    (root / 'train/a/00.jpg').write_bytes((root / 'train/a/1.jpg').read_bytes())
    more = build(root, weights, tmp_path, **{**kwargs, 'num_views': 3})
    assert encoded == [1, 1, 1, 9] and len(more) == 9
    encoded.clear()
    build(root, weights, tmp_path, views=views, num_views=2, augment=dict(JITTER, color=None))
    assert encoded == [0, 9, 9]
    # The same weights in another file are the same weights.
    torch.save(torch.load(weights), tmp_path / 'copy.pth')
    encoded.clear()
    build(root, str(tmp_path / 'copy.pth'), tmp_path)
    assert encoded == [0]


def augmented_rows(root, weights, store_dir, **kwargs):
    dataset = build(
        root, weights, store_dir, views=dict(view1='augmented'), num_views=2, augment=JITTER,
        **kwargs,
    )  # fmt: skip
    return [np.array(rows) for rows in (dataset._rows, *dataset._augmented)]


def test_views_do_not_depend_on_batches_workers_or_chance(root, weights, tmp_path):
    expected = augmented_rows(root, weights, tmp_path / 'a')
    assert np.abs(expected[1] - expected[2]).max() > 1e-2
    torch.manual_seed(5)
    np.random.seed(5)
    other = augmented_rows(root, weights, tmp_path / 'b', batch_size=8, num_workers=2)
    for a, b in zip(expected, other, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def _on_rank(rank, world_size, root, weights, tmp_path):
    return augmented_rows(root, weights, tmp_path / 'ranks')


def test_two_ranks_give_what_one_process_gives(root, weights, tmp_path):
    expected = augmented_rows(root, weights, tmp_path / 'one')
    for rows in run_ranks(2, _on_rank, root, weights, tmp_path):
        for a, b in zip(expected, rows, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_unreadable_images_are_left_out(root, weights, tmp_path, capsys):
    faulty = root / 'train/a/2.jpg'
    faulty.write_bytes(b'no image')
    dataset = build(root, weights, tmp_path, views=dict(view1='neighbor'), num_neighbors=6)
    assert f'1 image could not be read and is left out: {faulty}' in (capsys.readouterr().out)
    assert len(dataset) == 7
    assert batch_of(dataset, 7)['inputs']['sample_idx'].tolist() == list(range(7))
    plain = build(root, weights, tmp_path)
    assert str(faulty) not in [plain[i]['data_samples'].img_path for i in range(7)]


def test_a_batch_of_rows_is_made_without_a_step_per_item(root, weights, tmp_path, monkeypatch):
    views = dict(view1='image', neighbor='neighbor')
    dataset = build(root, weights, tmp_path, views=views, num_neighbors=3)
    monkeypatch.setattr(type(dataset), '_sample', lambda *_: pytest.fail('made a sample'))
    batch = batch_of(dataset)
    assert batch.keys() == next(iter(DataLoader(dataset, 8))).keys() == {'inputs'}
    assert {len(values) for values in batch['inputs'].values()} == {8}
    item = dataset[5]
    assert list(item) == ['inputs'] and int(item['inputs']['sample_idx']) == 5
    assert torch.equal(item['inputs']['view1'], batch['inputs']['view1'][5])


def test_flat_folder_has_no_labels(root, weights, tmp_path):
    cfg = cfg_of(root, weights, tmp_path)
    cfg['dataset']['data_root'] = str(root / 'train/a')
    samples = batch_of(DATASETS.build(cfg), 4)['data_samples']
    assert len(samples) == 4 and not any('gt_label' in sample for sample in samples)


def test_batches_are_read_together_under_exact_resume(root, weights, tmp_path, monkeypatch):
    """And their random numbers follow from the batch."""
    dataset = build(root, weights, tmp_path, views=dict(view1='neighbor'), num_neighbors=5)
    whole = []
    plain = type(dataset).__getitems__
    monkeypatch.setattr(
        type(dataset), '__getitems__', lambda self, i: whole.append(len(i)) or plain(self, i)
    )
    hook = HOOKS.build(dict(type='ExactResumeHook'))
    for _ in range(2):  # a second training
        hook.before_train(SimpleNamespace(train_dataloader=SimpleNamespace(dataset=dataset)))
    first, second = (batch_of(dataset)['inputs']['view1'] for _ in range(2))
    assert whole == [8, 8] and torch.equal(first, second)
    state = np.random.get_state()[1].copy()
    batch_of(dataset)
    assert np.array_equal(np.random.get_state()[1], state)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(views=dict(view1='x')), "one of image, augmented, neighbor; view1 has 'x'"),
        (dict(views=dict(view1='augmented')), 'view1 is to be augmented'),
        (
            dict(views=dict(a='augmented', b='augmented'), num_views=1, augment=JITTER),
            'num_views=1 is less than the 2 views that are drawn from them: a, b',
        ),
        (dict(views=dict(a='neighbor'), num_neighbors=0), 'num_neighbors=0 is less than the 1'),
        (
            dict(views=dict(a='neighbor'), num_neighbors=8),
            'num_neighbors=8, and each of the 8 images has 7 others',
        ),
        (dict(dtype='int8'), 'dtype must be float32 or float16'),
    ],
)
def test_refuses_mistakes(root, weights, tmp_path, kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(root, weights, tmp_path, **kwargs)


def test_pipeline_and_encoder_of_ones_own(root, weights, tmp_path):
    """A built encoder, a data set without a pipeline: that of the encoder's input size."""
    encoder = MODELS.build(encoder_cfg(input_size=28, weights=weights))
    encoder.init_weights()
    extract = EncoderRows(encoder, tmp_path / 'own', num_workers=0)
    image_set = extract.open(dict(type='ImageFolder', data_root=str(root / 'train')))
    assert image_set.pipeline == encoder_pipeline(28)
    rows, kept = extract.store(image_set).rows(image_set.images.ids)
    expected = build(root, weights, tmp_path)._rows
    assert len(kept) == 8
    np.testing.assert_allclose(rows, expected, atol=1e-6)


def test_rows_are_those_of_the_encoder_at_rest(root, tmp_path, monkeypatch):
    """Made by a copy whose norms are folded; the encoder is left as it was, in training mode."""
    encoder = MODELS.build(dict(encoder_cfg(input_size=28), freeze=False))
    images = torch.randn(16, 3, 28, 28)
    for _ in range(3):
        encoder(images)  # its norms have seen something
    made = []

    def spied(*args):
        made.append(inference_copy(*args))
        return made[-1]

    monkeypatch.setattr(module, 'inference_copy', spied)
    state = {k: v.clone() for k, v in encoder.state_dict().items()}
    extract = EncoderRows(encoder.train(), tmp_path / 'own', batch_size=3, num_workers=0)
    image_set = extract.open(dict(type='ImageFolder', data_root=str(root / 'train')))
    rows, _ = extract.store(image_set).rows(image_set.images.ids)
    (fast,) = made
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in fast.modules())
    assert encoder.training
    assert all(torch.equal(value, state[key]) for key, value in encoder.state_dict().items())
    batch = batch_of(image_set.dataset)
    plain = extract._preprocessor()(batch, False)['inputs']
    with torch.no_grad():
        expected = encoder.eval()(plain)
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('views', ['identity', 'fixed'])
def test_cdc_has_the_same_loss_on_rows_as_on_images(root, weights, tmp_path, views):
    steps = {} if views == 'identity' else dict(
        flip=dict(type='kornia/RandomHorizontalFlip', p=1.0)
    )  # fmt: skip
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='CDC',
            backbone=encoder_cfg(weights=weights),
            neck=dict(type='MoCoV2Neck', in_channels=8, hid_channels=8),
            head=dict(type='CDCHead', num_clusters=3, instance_dim=5),
            queue_size=8,
            data_preprocessor=dict(
                type='MultiViewDataPreprocessor', views=dict(view1=(), view2=steps), to_rgb=True
            ),
        )
    )
    model.init_weights()
    images = batch_of(DATASETS.build(cfg_of(root, weights, tmp_path)['dataset']))
    source = 'image' if views == 'identity' else 'augmented'
    dataset = build(
        root, weights, tmp_path, views=dict(view1='image', view2=source), num_views=1, augment=steps
    )
    losses, states = [], []
    start = {k: v.clone() for k, v in model.state_dict().items()}
    for batch in (images, batch_of(dataset)):
        model.load_state_dict(start)
        model.zero_grad()
        data = model.data_preprocessor(batch, True)
        loss = model(data['inputs'], data['data_samples'], mode='loss')
        sum(value for name, value in loss.items() if 'loss' in name).backward()
        losses.append({name: float(value) for name, value in loss.items()})
        states.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5) and len(losses[0]) > 1
    for a, b in zip(*states, strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    # And the same clusters: a model trained on rows predicts from images.
    model.eval()
    plain = batch_of(build(root, weights, tmp_path))
    scores = []
    for batch in (images, plain):
        data = model.data_preprocessor(batch, False)
        samples = model(data['inputs'], data['data_samples'], mode='predict')
        scores.append(torch.stack([sample.pred_score for sample in samples]))
    assert torch.allclose(*scores, atol=1e-5)


def runner_on_rows(tmp_path, weights, root, **kwargs):
    train = cfg_of(
        root, weights, tmp_path, num_views=2, augment=JITTER,
        views=dict(view1='augmented', view2='augmented'),
    )  # fmt: skip
    test = cfg_of(root, weights, tmp_path)
    model = dict(TINY_CDC, backbone=encoder_cfg(weights=weights), queue_size=8)
    model['head'] = dict(model['head'], num_clusters=2)
    return make_runner(
        kwargs.pop('work_dir'), model, dataset=dict(train=train, test=test), **kwargs,
        **{'train_dataloader.batch_size': 4},
    )  # fmt: skip


def test_trains_resumes_and_draws_through_the_runner(root, weights, tmp_path):
    whole = runner_on_rows(tmp_path, weights, root, work_dir=tmp_path / 'whole', epochs=3)
    whole.train()
    runner_on_rows(tmp_path, weights, root, work_dir=tmp_path / 'two', epochs=2).train()
    resumed = runner_on_rows(
        tmp_path, weights, root, work_dir=tmp_path / 'two', epochs=3, resume=True
    )
    resumed.train()
    before = MODELS.build(encoder_cfg(weights=weights))
    before.init_weights()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    for name, value in before.state_dict().items():
        assert torch.equal(value, whole.model.encoder.state_dict()[name]), name
    sheet = cv2.imread(str(tmp_path / 'two' / 'contact_sheet.png'))
    assert sheet.shape[1] > 100
    # And the checkpoint tells the same clusters of images.
    images = dict(cfg_of(root, weights, tmp_path)['dataset'])
    preprocessor = {'data_preprocessor.to_rgb': True, 'data_preprocessor.mean': MEAN}
    preprocessor['data_preprocessor.std'] = STD
    tested = []
    for dataset in (images, cfg_of(root, weights, tmp_path)):
        run = runner_on_rows(
            tmp_path, weights, root, work_dir=tmp_path / f'test{len(tested)}',
            load_from=str(tmp_path / 'two' / 'epoch_3.pth'),
            **{'test_dataloader.dataset': dict(dataset, _delete_=True)}, **preprocessor,
            custom_hooks=[dict(type='PictureHook', out_dir=str(tmp_path / f'drawn{len(tested)}'))],
        )  # fmt: skip
        tested.append(run.test())
    assert tested[0].keys() == tested[1].keys()
    for name, value in tested[0].items():
        assert value == pytest.approx(tested[1][name], abs=1e-3), name
    names = [sorted(path.name for path in (tmp_path / f'drawn{i}').iterdir()) for i in (0, 1)]
    assert names[0] == names[1] and len(names[0]) == 8
    for name in names[0]:
        first, second = (cv2.imread(str(tmp_path / f'drawn{i}' / name)) for i in (0, 1))
        assert np.array_equal(first, second)


@pytest.mark.parametrize('with_encoder', [True, False])
def test_tools_take_a_config_of_rows(root, weights, tmp_path, with_encoder):
    """Training data are rows, test data images or rows: features are those of the images."""
    run = runner_on_rows(tmp_path, weights, root, work_dir=tmp_path / 'work')
    images = cfg_of(root, weights, tmp_path)['dataset']
    cfg = run.cfg.copy()
    cfg.data_preprocessor = dict(type='MultiViewDataPreprocessor', mean=MEAN, std=STD, to_rgb=True)
    cfg.train_dataloader.dataset.dataset.with_label = False
    if with_encoder:
        cfg.test_dataloader.dataset = images
    else:
        cfg.model.backbone = None
        cfg.model.neck.in_channels = 8
    torch.manual_seed(0)
    model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    if with_encoder:
        model.encoder.load_weights(weights)
    torch.save(model.state_dict(), tmp_path / 'x.pth')
    expected = build(root, weights, tmp_path)._rows
    for output in ('backbone', 'z'):
        extract = FeatureExtractor(
            cfg, str(tmp_path / 'x.pth'), output, cache_dir=tmp_path / 'cache'
        )
        assert extract.labels == dict(train=[0] * 4 + [1] * 4, test=[0] * 4 + [1] * 4)
        rows = expected
        if output == 'z':
            with torch.no_grad():
                rows = model.eval().embed(torch.tensor(np.array(expected)))['z']
        for split in ('train', 'test'):
            np.testing.assert_allclose(extract(split).rows, rows, atol=1e-5)
    with pytest.raises(ValueError, match='FeatureDataset gives rows, which cannot be augmented'):
        extract('train', view=0)


def _train_on_rank(rank, world_size, folder, launcher='pytorch'):
    runner = make_scan(
        folder,
        name=f'ranks{world_size}',
        epochs=2,
        launcher=launcher,
        **{
            # The nearest alone, so that what is drawn does not depend on the rank.
            'train_dataloader.dataset.num_neighbors': 1,
            'train_dataloader.batch_size': 128 // world_size,
            'train_dataloader.drop_last': True,  # ranks repeat images to fill the last one
            'optim_wrapper.optimizer': dict(type='SGD', lr=0.5),
            'val_cfg': None,
            'val_dataloader': None,
            'val_evaluator': None,
        },
    )
    runner.train()
    return {name: value.clone() for name, value in unwrap_model(runner.model).state_dict().items()}


def test_training_from_a_store_on_two_ranks_is_that_of_one(tmp_path, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '0')
    one = _train_on_rank(0, 1, tmp_path, 'none')
    start = make_scan(tmp_path, name='start').model.state_dict()
    assert (one['head.weight'] - start['head.weight']).abs().max() > 0.05
    for found in run_ranks(2, _train_on_rank, tmp_path):
        for name, value in one.items():
            torch.testing.assert_close(found[name], value, atol=2e-5, rtol=1e-3, msg=name)
