"""Checkpoints that version 0.1 wrote load, test and go on as they did there."""

import shutil

import pytest
import torch
from helpers import ROOT
from mmengine.config import Config

from cdc_mm import apis

DATA = ROOT / 'tests/data'
SMALL = {
    'batch_size': 64,
    'model.backbone.channels': [2, 2, 2, 4],
    'model.neck.in_channels': 4,
    'model.neck.hid_channels': 4,
    'model.head.instance_dim': 4,
    'model.queue_size': 20,
    'train_cfg.val_interval': 1,
    'default_hooks.checkpoint.interval': 1,
    'param_scheduler.0.T_max': 2,
}


def digits(work_dir, **kwargs):
    cfg = apis.read_config(ROOT / 'configs/cdc_digits.py', SMALL)
    cfg.merge_from_dict(dict(work_dir=str(work_dir), **kwargs))
    return cfg


def self_label(work_dir):
    cfg = digits(work_dir)
    cfg.model = dict(
        type='SelfLabel',
        clusterer=cfg.model,
        loss=dict(type='SelfLabelLoss', threshold=0.15),
    )
    return cfg


def mocov3(work_dir):
    mlp = dict(type='NonLinearNeck', hid_channels=4, norm_cfg=dict(type='BN1d'))
    cfg = digits(work_dir)
    cfg.model = dict(
        type='CDCMoCoV3',
        backbone=cfg.model.backbone,
        neck=dict(in_channels=4, with_last_bn_affine=False, **mlp),
        predictor=dict(with_avg_pool=False, with_last_bn=False, **mlp),
        head=dict(type='CDCHead', num_clusters=10, instance_dim=4, tau=0.4, t=0.2, alpha=1.0),
    )
    return cfg


@pytest.mark.parametrize(
    ('name', 'config', 'acc', 'nmi'),
    [
        ('cdc', digits, 18.3333, 7.3197),
        ('cdc_mocov3', mocov3, 31.1111, 25.8902),
        ('self_label', self_label, 20.5556, 9.8664),
        ('self_label', digits, 20.5556, 9.8664),  # without the wrapper
    ],
)
def test_they_test_as_they_did(name, config, acc, nmi, tmp_path):
    cfg: Config = config(tmp_path)
    cfg.load_from = str(DATA / f'{name}_v0.pth')
    cfg.experiment_name = f'old_{name}_{config.__name__}'
    runner = apis.build_runner(cfg)
    apis.prepare_test(runner)
    metrics = runner.test()
    assert metrics['clustering/acc'] == pytest.approx(acc, abs=1e-4)
    assert metrics['clustering/nmi'] == pytest.approx(nmi, abs=1e-4)


def test_they_go_on_as_they_did(tmp_path):
    """Weights, momentum encoder, queue and the optimiser's state: nothing is left behind."""
    shutil.copy(DATA / 'cdc_v0.pth', tmp_path / 'epoch_1.pth')
    cfg = digits(tmp_path, resume=True, **{'train_cfg.max_epochs': 2})
    runner = apis.build_runner(cfg)
    apis.prepare_training(runner)
    runner.train()
    expected = torch.load(DATA / 'cdc_v0_resumed.pth')
    runner.model.rename_weights(expected)
    own = runner.model.state_dict()
    assert own.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(own[key], value, rtol=1e-5, atol=1e-6, msg=key)


def test_their_backbone_is_found():
    for name in ('cdc', 'self_label'):
        weights = apis.read_backbone(DATA / f'{name}_v0.pth')
        assert 'layers.0.conv.weight' in weights
    momentum = apis.read_backbone(DATA / 'cdc_v0.pth', momentum=True)
    assert momentum.keys() == apis.read_backbone(DATA / 'cdc_v0.pth').keys()
