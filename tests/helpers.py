"""Helpers of the tests."""

import copy
import itertools
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import torch.multiprocessing as mp
from mmengine.config import Config
from mmpretrain.registry import MODELS

from cdc_mm.engine import build_runner

ROOT = Path(__file__).resolve().parents[1]
CONFIG = 'configs/cdc_digits.py'
# Options that make a network of it that trains an epoch in a moment.
SMALL = (
    'train_dataloader.batch_size=64',
    'model.backbone.channels=[4,4,4,8]',
    'model.neck.in_channels=8',
    'model.queue_size=100',
    'train_cfg.val_interval=1',
    'default_hooks.checkpoint.interval=1',
)


def _rank_main(rank, world_size, store, function, args, results):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{store}', rank=rank, world_size=world_size
    )
    try:
        results[rank] = function(rank, world_size, *args)
        # A rank that leaves while another still connects would take it down.
        torch.distributed.barrier()
    finally:
        torch.distributed.destroy_process_group()


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]


def run_ranks(world_size, function, *args):
    """Run ``function(rank, world_size, *args)`` on gloo ranks; returns their results by rank."""
    with tempfile.TemporaryDirectory() as folder, mp.Manager() as manager:
        results = manager.dict()
        mp.start_processes(
            _rank_main,
            (world_size, Path(folder) / 'store', function, args, results),
            nprocs=world_size,
            start_method='fork',
        )
        return [results[rank] for rank in range(world_size)]


def run_tool(*args, check=True, env=None, timeout=300):
    """Run a command as a user would, from the root of the repository."""
    command = [str(arg) for arg in args]
    if command[0].endswith('.py'):
        command.insert(0, sys.executable)
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={
            **os.environ,
            'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}',
            'OMP_NUM_THREADS': '1',
            **(env or {}),
        },
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    if check:
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def log_of(work_dir):
    """The full log of the newest run in a work dir."""
    return max(Path(work_dir).glob('*/*.log')).read_text()


# CDC on the digits with a network that trains an epoch in a moment.
TINY_CDC = dict(
    type='CDC',
    backbone=dict(type='SmallConvNet', in_channels=1, channels=(2, 2, 2, 4), strides=(1, 2, 2, 2)),
    neck=dict(type='MoCoV2Neck', hid_channels=8),
    head=dict(type='CDCHead', num_clusters=10, instance_dim=4, t=0.2),
    queue_size=64,
    momentum=0.99,
)
_runs = itertools.count()


def make_runner(work_dir, model, views=('view1', 'view2'), epochs=1, dataset=None, **kwargs):
    """A real Runner: ``model``, the digits (or another data set), the shipped runtime.

    ``kwargs`` change the config's entries.
    """
    cfg = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
    pipeline = [dict(type='PackInputs')]
    loaders = {}
    for split in ('train', 'test'):
        loaders[split] = dict(
            batch_size=128,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=split == 'train'),
            collate_fn=dict(type='default_collate'),
            dataset=(dataset or {}).get(split)
            or dict(type='Digits', split=split, pipeline=pipeline),
        )
    noise = [dict(type='kornia/RandomAffine', degrees=20, p=1.0)]
    cfg.merge_from_dict(
        dict(
            model=copy.deepcopy(model),
            data_preprocessor=dict(
                type='MultiViewDataPreprocessor',
                views={name: [] if name == 'weak' else noise for name in views},
                mean=[78.0],
                std=[96.0],
            ),
            train_dataloader=loaders['train'],
            val_dataloader=loaders['test'],
            test_dataloader=loaders['test'],
            val_evaluator=dict(type='ClusteringMetric'),
            test_evaluator=dict(type='ClusteringMetric'),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=3e-3)),
            train_cfg=dict(by_epoch=True, max_epochs=epochs, val_interval=1),
            val_cfg=dict(),
            test_cfg=dict(),
            work_dir=str(work_dir),
            experiment_name=f'{Path(work_dir).name}{next(_runs)}',
            randomness=dict(seed=0),
        )
    )
    cfg.default_hooks.checkpoint.interval = 1
    cfg.merge_from_dict(kwargs)
    return build_runner(cfg)


HOLDER = """
import sys, time
from mmengine.config import Config
from mmpretrain.registry import MODELS
from cdc_mm.engine import claim_work_dir
claim_work_dir(Config(dict(work_dir=sys.argv[1])))
if len(sys.argv) > 2:
    import os
    if os.fork() == 0:
        time.sleep(60)
print('locked', flush=True)
time.sleep(60)
"""


def hold(*args):
    """Another process that trains in a work dir; None in place of its child's id."""
    process = subprocess.Popen(
        [sys.executable, '-c', HOLDER, *map(str, args)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    assert process.stdout.readline() == 'locked\n'
    return process


DIGITS_ENCODER = dict(
    type='Encoder',
    backbone=dict(type='SmallConvNet', in_channels=1, channels=(8, 16), strides=(2, 2)),
    freeze=True,
    mean=[78.0],
    std=[96.0],
    input_size=8,
)


def make_scan(folder, **kwargs):
    """A run on the stored rows of a random network, with the store in the folder."""
    torch.manual_seed(0)
    encoder = dict(DIGITS_ENCODER, weights=str(folder / 'encoder.pth'))
    if not (folder / 'encoder.pth').is_file():
        torch.save(MODELS.build(encoder['backbone']).state_dict(), folder / 'encoder.pth')
    rows = dict(
        type='FeatureDataset',
        dataset=dict(type='Digits', split='train', pipeline=[dict(type='PackInputs')]),
        encoder=encoder,
        views=dict(view1='image', neighbor='neighbor'),
        num_neighbors=5,
        num_workers=0,
        store_dir=str(folder / 'store'),
    )
    options = dict(
        model=dict(type='SCAN', num_clusters=10, num_heads=6, backbone=encoder),
        dataset=dict(train=rows),
        epochs=2,
    )
    work_dir = folder / kwargs.pop('name', 'work')
    return make_runner(work_dir, **{**options, **kwargs})
