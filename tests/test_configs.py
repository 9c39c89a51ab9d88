"""Every config under configs/ trains with a shrunken network on generated images."""

import math

import generated
import pytest
import torch
from helpers import ROOT
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS

from cdc_mm import apis

CONFIGS = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / 'configs').rglob('*.py')
    if '_base_' not in path.parts
)


def use_generated_data(cfg, tmp_path, monkeypatch):
    kind = cfg.train_dataloader.dataset.type
    if kind == 'Digits':
        return  # scikit-learn ships it
    make = dict(
        CIFAR10=lambda root: generated.cifar10(root, monkeypatch),
        ImageNet=generated.imagenet,
        CustomDataset=generated.image_folder,
    )[kind]
    root = str(make(tmp_path / 'data'))
    for field in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[field].dataset.data_root = root


def shrink(cfg):
    """The same architecture with a sixteenth of the channels and a short queue."""
    backbone = cfg.model.backbone
    if backbone.type == 'SmallConvNet':
        backbone.channels = [4 for _ in backbone.channels]
        cfg.model.neck.in_channels = 4
    else:
        backbone.stem_channels = backbone.base_channels = 4
        cfg.model.neck.in_channels //= 16
    cfg.model.neck.hid_channels = 16
    if cfg.model.type == 'CDCMoCoV3':
        cfg.model.predictor.hid_channels = 16
    self_label = cfg.model.head.get('self_label')
    if self_label is not None:  # be confident of something at once
        self_label.threshold = 1.5 / cfg.model.head.num_clusters
    for hook in cfg.get('custom_hooks', []):
        if hook.type == 'SelfLabelHook':
            hook.update(start=0, ramp=0)
    if 'queue_size' in cfg.model:
        cfg.model.queue_size = cfg.model.head.num_clusters + 10


@pytest.mark.parametrize('path', CONFIGS)
def test_trains_two_iterations(path, tmp_path, monkeypatch):
    cfg = Config.fromfile(ROOT / path)
    use_generated_data(cfg, tmp_path, monkeypatch)
    shrink(cfg)
    cfg.work_dir = str(tmp_path / 'work')
    cfg.experiment_name = path.replace('/', '_')
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=2, val_interval=2)
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=2)
    cfg.default_hooks.logger.update(interval=1)
    for field in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[field].update(batch_size=4, num_workers=0)
    if cfg.load_from:
        cfg.load_from = str(tmp_path / 'pretrained.pth')
        init_default_scope('mmpretrain')
        torch.save(MODELS.build(cfg.model).state_dict(), cfg.load_from)
    apis.set_dataloader_defaults(cfg)
    runner = apis.build_runner(cfg)
    apis.prepare_training(runner)
    runner.train()

    scalars = runner.message_hub.log_scalars
    names = ['loss']
    hooks = {hook.type: hook for hook in cfg.get('custom_hooks', [])}
    fine_tunes = 'SelfLabelHook' in hooks and hooks['SelfLabelHook'].get('finetune')
    if not fine_tunes:
        names += ['loss_infonce', 'loss_cluster', 'assign_entropy', 'largest_share']
    if 'SelfLabelHook' in hooks:
        names += ['loss_selflabel', 'confident_share']
    for name in names:
        values, _ = scalars[f'train/{name}'].data
        assert len(values) == 2 and all(math.isfinite(value) for value in values), name
    assert scalars['val/clustering/acc'].current() >= 0
    assert (tmp_path / 'work' / 'contact_sheet.png').is_file()

    state = apis.read_state_dict(str(tmp_path / 'work' / 'iter_2.pth'))
    head = cfg.model.head
    width = head.num_clusters + (head.instance_dim if cfg.model.type == 'CDC' else 0)
    assert state['queue'].shape[1] == width


def test_configs_state_the_papers_values():
    """Section 3.1 of the paper; protocols where it is silent."""
    cifar = Config.fromfile(ROOT / 'configs/cdc_r18_cifar10.py')
    head, optimizer = cifar.model.head, cifar.optim_wrapper.optimizer
    assert (head.num_clusters, head.instance_dim, head.alpha) == (10, 128, 5.0)
    assert (head.tau, head.t) == (0.15, 0.10)
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (6e-2, 0.9, 5e-4)
    assert (cifar.train_cfg.max_epochs, cifar.train_dataloader.batch_size) == (1200, 512)
    assert (cifar.model.queue_size, cifar.model.momentum, cifar.model.symmetric) == (
        4096,
        0.99,
        True,
    )
    imagenet = Config.fromfile(ROOT / 'configs/cdc_r50_imagenet.py')
    head, optimizer = imagenet.model.head, imagenet.optim_wrapper.optimizer
    assert (head.num_clusters, head.instance_dim, head.alpha) == (1000, 256, 1.0)
    assert (head.tau, head.t) == (0.40, 0.20)
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (0.03, 0.9, 1e-4)
    assert (imagenet.train_cfg.max_epochs, imagenet.train_dataloader.batch_size) == (200, 32)
    assert (imagenet.model.queue_size, imagenet.model.momentum) == (65536, 0.999)
