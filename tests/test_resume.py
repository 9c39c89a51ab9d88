"""Training that is killed and resumed equals training that never stopped, to the last bit."""

import json
import os
import random
import signal
import time

import generated
import pytest
import torch
import torch.multiprocessing as mp
from helpers import ROOT
from mmengine.config import Config

from cdc_mm import apis
from cdc_mm.checkpoints import newest_checkpoint

WEAK = [dict(type='RandomFlip', prob=0.5)]
VIEW = [
    dict(type='RandomResizedCrop', scale=8, crop_ratio_range=(0.3, 1.0)),  # numpy
    dict(type='NumpyToPIL'),
    dict(type='torchvision/RandomPerspective', p=0.5),  # torch
    dict(type='PILToNumpy'),
]


def config(work_dir, data_root, workers, train_cfg, checkpoint, sampler='DefaultSampler'):
    cfg = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
    pipeline = [
        dict(type='LoadImage'),
        dict(type='MultiView', num_views=[2, 2], transforms=[VIEW, WEAK + VIEW]),
        dict(type='PackInputs'),
    ]
    dataset = dict(type='CustomDataset', data_root=str(data_root), data_prefix='train')
    cfg.merge_from_dict(
        dict(
            model=dict(
                type='SelfLabel',
                clusterer=dict(
                    type='CDC',
                    backbone=dict(type='SmallConvNet', channels=(4, 4), strides=(2, 2)),
                    neck=dict(type='MoCoV2Neck', in_channels=4, hid_channels=8),
                    head=dict(
                        type='CDCHead',
                        num_clusters=3,
                        instance_dim=4,
                        assigner=dict(type='SinkhornAssigner', cluster_sizes='estimated'),
                    ),
                    queue_size=20,
                    symmetric=True,
                ),
                loss=dict(type='SelfLabelLoss', threshold=0.4),
                data_preprocessor=dict(
                    type='MultiViewDataPreprocessor',
                    views={
                        name: [dict(type='kornia/RandomHorizontalFlip')]
                        for name in ('view1', 'view2', 'weak', 'strong')
                    },
                    mean=[127.0] * 3,
                    std=[50.0] * 3,
                ),
            ),
            train_dataloader=dict(
                batch_size=4,
                num_workers=workers,
                sampler=dict(type=sampler, shuffle=True),
                dataset=dict(with_label=False, pipeline=pipeline, **dataset),
            ),
            val_dataloader=dict(
                batch_size=5,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=dict(pipeline=[pipeline[0], pipeline[2]], **dataset),
            ),
            val_evaluator=dict(type='ClusteringMetric'),
            val_cfg=dict(),
            train_cfg=train_cfg,
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.01)),
            param_scheduler=[
                dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=10),
                dict(type='CosineAnnealingLR', T_max=5, by_epoch=True),
            ],
            custom_hooks=[dict(type='SelfLabelHook', start=1)],
            default_hooks=dict(
                checkpoint=dict(max_keep_ckpts=2, **checkpoint), logger=dict(interval=1)
            ),
            work_dir=str(work_dir),
            experiment_name=work_dir.name,
        )
    )
    apis.set_dataloader_defaults(cfg)
    return cfg


def _train(cfg):
    torch.set_num_threads(1)
    cfg = cfg.copy()
    cfg.experiment_name += f'{os.getpid()}-{time.monotonic_ns()}'
    runner = apis.build_runner(cfg)
    apis.prepare_training(runner)
    runner.train()


def train(cfg, kill_after=None):
    """Train in another process; kills it some time after new checkpoints. Returns its exit code."""
    process = mp.get_context('fork').Process(target=_train, args=(cfg,))
    process.start()
    if kill_after is not None:
        before = set(os.listdir(cfg.work_dir)) if os.path.isdir(cfg.work_dir) else set()
        while process.is_alive() and not (
            os.path.isdir(cfg.work_dir)
            and any(name.endswith('.pth') for name in set(os.listdir(cfg.work_dir)) - before)
        ):
            time.sleep(0.002)
        time.sleep(kill_after)
        os.kill(process.pid, signal.SIGKILL)
    process.join(120)
    assert not process.is_alive()
    return process.exitcode


def result(work_dir):
    """The last checkpoint's content but for what tells runs apart, and the last metrics."""
    name = newest_checkpoint(work_dir)
    checkpoint = torch.load(name, weights_only=True)
    lines = [
        line
        for path in sorted(work_dir.glob('*/vis_data/scalars.json'))
        for line in path.read_text().splitlines()
        if 'clustering/acc' in line
    ]
    metrics = json.loads(lines[-1])
    del metrics['data_time'], metrics['time']
    return {
        'name': os.path.basename(name),
        'progress': [checkpoint['meta'][key] for key in ('epoch', 'iter', 'seed')],
        'metrics': metrics,
        **{key: checkpoint[key] for key in ('state_dict', 'optimizer', 'param_schedulers')},
    }


def assert_same(a, b, path=''):
    if isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a:
            assert_same(a[key], b[key], f'{path}.{key}')
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), path
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f'{path}.{i}')
    elif torch.is_tensor(a):
        assert torch.equal(a, b), path
    else:
        assert a == b, path


EPOCHS = dict(by_epoch=True, max_epochs=5, val_interval=1)
ITERATIONS = dict(type='IterBasedTrainLoop', max_iters=20, val_interval=10)
CASES = {
    'epochs': (2, EPOCHS, dict(interval=1)),
    'iterations within epochs': (2, EPOCHS, dict(interval=3, by_epoch=False)),
    'loop by iterations': (
        0,
        ITERATIONS,
        dict(interval=3, by_epoch=False),
        'InfiniteSampler',
    ),
}


@pytest.mark.parametrize('case', CASES)
def test_killed_and_resumed_equals_uninterrupted(tmp_path, monkeypatch, case):
    # Formatting the config takes most of the time of saving so small a model.
    monkeypatch.setattr(Config, 'pretty_text', property(lambda self: ''))
    data = generated.image_folder(tmp_path / 'data', images_per_class=9, size=12)
    whole, parts = (config(tmp_path / name, data, *CASES[case]) for name in ('whole', 'parts'))
    whole.randomness.seed = parts.randomness.seed = 7
    _train(whole)
    kill_after = random.Random(case).random() / 10
    assert train(parts, kill_after) == -signal.SIGKILL
    # Resuming finds the seed in the checkpoint.
    parts.resume, parts.randomness.seed = True, None
    assert train(parts) == 0
    assert_same(result(tmp_path / 'whole'), result(tmp_path / 'parts'))


@pytest.fixture
def _deterministic_off_again():
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


@pytest.mark.usefixtures('_deterministic_off_again')
def test_a_seed_gives_the_same_numbers_again(tmp_path, monkeypatch):
    monkeypatch.setattr(Config, 'pretty_text', property(lambda self: ''))
    data = generated.image_folder(tmp_path / 'data', images_per_class=9, size=12)
    loop = dict(EPOCHS, max_epochs=2)
    results = []
    for name, seed, workers in (('a', 1, 0), ('b', 1, 2), ('c', 2, 0)):
        cfg = config(tmp_path / name, data, workers, loop, dict(interval=1))
        cfg.randomness.update(seed=seed, deterministic=True)
        _train(cfg)
        results.append(result(tmp_path / name))
    assert torch.are_deterministic_algorithms_enabled()
    assert_same(results[0], results[1])  # the number of workers does not matter either
    key = 'clusterer.neck.mlp.0.weight'
    assert not torch.equal(results[0]['state_dict'][key], results[2]['state_dict'][key])
