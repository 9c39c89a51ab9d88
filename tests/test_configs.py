"""Every config under configs/ trains with a shrunken network on generated images."""

import math
from pathlib import Path

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

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def use_generated_data(cfg, monkeypatch):
    kind = cfg.train_dataloader.dataset.type
    if kind == 'Digits':
        return  # scikit-learn ships it
    make = dict(
        CIFAR10=lambda root: generated.cifar10(root, monkeypatch),
        CIFAR100Coarse=lambda root: generated.cifar100(root, monkeypatch),
        ImageFolder=generated.image_folder,
        ImageNet=generated.imagenet,
        ImageNetSubset=generated.imagenet,
        Places205Split=generated.places205,
        STL10=generated.stl10,
        VOC07=generated.voc,
    )[kind]
    changed = dict(data_root=str(make(Path('data'))))
    if kind == 'ImageNetSubset':
        # A list of a few classes in place of the shipped one, which has as many as clusters.
        assert cfg.train_dataloader.dataset.subset == cfg.model.head.num_clusters
        changed['subset'] = 'subset.txt'
        Path('subset.txt').write_text('n01440764 tench\nn01443537\nn01484850\nn01491361\n')
    for field in LOADERS:
        if cfg[field] is not None:
            cfg[field].dataset.update(changed)


def shrink(cfg):
    """The same architecture with a sixteenth of the channels and a short queue."""
    backbone = cfg.model.backbone
    if backbone.type == 'SmallConvNet':
        backbone.channels = [4 for _ in backbone.channels]
        width = 4
    else:
        backbone.stem_channels = backbone.base_channels = 4
        width = 32 * (4 if backbone.depth == 50 else 1)
    if cfg.model.type == 'ImageClassifier':
        cfg.model.head.in_channels = width
        return
    cfg.model.neck.in_channels = width
    cfg.model.neck.hid_channels = 16
    if cfg.model.type == 'MoCo':
        cfg.model.queue_len = 100
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
    # Short paths: mmengine prints the config through yapf, which takes seconds over long ones.
    monkeypatch.chdir(tmp_path)
    use_generated_data(cfg, monkeypatch)
    shrink(cfg)
    if path == 'configs/cdc_r50_imagenet.py':
        cfg.model.backbone.norm_cfg.type = 'SplitBN'  # what a single process is told to use
    cfg.work_dir = 'work'
    cfg.experiment_name = path.replace('/', '_')
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=2, val_interval=2)
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=2)
    cfg.default_hooks.logger.update(interval=1)
    for field in LOADERS:
        if cfg[field] is not None:
            cfg[field].update(batch_size=4, num_workers=0)
    linear = cfg.model.type == 'ImageClassifier'
    if cfg.load_from or linear:
        cfg.load_from = 'pretrained.pth'
        init_default_scope('mmpretrain')
        torch.save(MODELS.build(cfg.model).state_dict(), cfg.load_from)
    apis.set_dataloader_defaults(cfg)
    runner = apis.build_runner(cfg)
    apis.prepare_training(runner)
    runner.train()

    scalars = runner.message_hub.log_scalars
    if linear:
        values, _ = scalars['train/loss'].data
        assert len(values) == 2 and all(math.isfinite(value) for value in values)
        metric = 'voc07/class_map' if cfg.model.head.num_classes == 20 else 'accuracy/top1'
        assert 0 <= scalars[f'val/{metric}'].current() <= 100
        before, after = (apis.read_state_dict(name) for name in (cfg.load_from, 'work/iter_2.pth'))
        assert all(
            torch.equal(value, before[name]) == name.startswith('backbone.')
            for name, value in after.items()
        )
        return
    names = ['loss']
    moco = cfg.model.type == 'MoCo'  # a baseline, without clusters
    hooks = {hook.type: hook for hook in cfg.get('custom_hooks', [])}
    fine_tunes = 'SelfLabelHook' in hooks and hooks['SelfLabelHook'].get('finetune')
    if not (fine_tunes or moco):
        names += ['loss_infonce', 'loss_cluster', 'assign_entropy', 'largest_share']
    if 'SelfLabelHook' in hooks:
        names += ['loss_selflabel', 'confident_share']
    for name in names:
        values, _ = scalars[f'train/{name}'].data
        assert len(values) == 2 and all(math.isfinite(value) for value in values), name
    if moco:
        assert apis.read_state_dict('work/iter_2.pth')['queue'].shape == (cfg.model.feat_dim, 100)
        return
    assert scalars['val/clustering/acc'].current() >= 0
    assert Path('work/contact_sheet.png').is_file()

    state = apis.read_state_dict('work/iter_2.pth')
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
    for name, dataset, split in (
        ('cifar100_20', 'CIFAR100Coarse', 'train'),
        ('stl10', 'STL10', 'train+unlabeled'),
    ):
        cfg = Config.fromfile(ROOT / f'configs/cdc_r18_{name}.py')
        assert cfg.model.head == dict(cifar.model.head, num_clusters=cfg.num_clusters)
        assert cfg.optim_wrapper == cifar.optim_wrapper and cfg.train_cfg == cifar.train_cfg
        assert (cfg.train_dataloader.dataset.type, cfg.train_dataloader.batch_size) == (
            dataset,
            512,
        )
        assert cfg.train_dataloader.dataset.split == split
        assert cfg.test_dataloader.dataset.split == 'test'
    for classes in (50, 100, 200):
        subset = Config.fromfile(ROOT / f'configs/cdc_r50_imagenet{classes}.py')
        assert subset.model.head == dict(imagenet.model.head, num_clusters=classes)
        assert subset.optim_wrapper == imagenet.optim_wrapper
        assert (subset.train_cfg.max_epochs, subset.train_dataloader.batch_size) == (400, 256)
        assert subset.model.backbone.frozen_stages == 4


def test_linear_configs_state_the_protocols_values():
    """MoCo, MoCo v3 and AdCo; the ablation's probe."""
    cfgs = {
        name: Config.fromfile(ROOT / f'configs/linear/linear_{name}.py')
        for name in (
            'r50_imagenet_moco', 'r50_imagenet_mocov3', 'r50_imagenet_adco', 'r50_places205',
            'r50_voc07', 'r18_cifar10', 'r18_cifar10_folder', 'digits',
        )
    }  # fmt: skip
    for name, lr, epochs, batch_size in (
        ('r50_imagenet_moco', 30, 100, 32),
        ('r50_imagenet_mocov3', 0.4, 90, 128),
        ('r50_imagenet_adco', 10, 100, 32),
        ('r50_places205', 5, 100, 32),
        ('r50_voc07', 0.05, 100, 16),
        ('r18_cifar10', 30, 100, 512),
        ('r18_cifar10_folder', 30, 100, 512),
        ('digits', 30, 100, 128),
    ):
        cfg = cfgs[name]
        assert cfg.optim_wrapper.optimizer == dict(
            type='SGD', lr=lr, momentum=0.9, weight_decay=0.0
        )
        assert cfg.train_cfg.max_epochs == epochs
        assert cfg.train_dataloader.batch_size == batch_size
        assert cfg.model.backbone.frozen_stages == 4
    schedules = {name: cfg.param_scheduler for name, cfg in cfgs.items()}
    assert schedules['r50_imagenet_moco'][0].milestones == [60, 80]
    assert schedules['r50_imagenet_adco'][0].eta_min == 0.01
    for name in ('r50_places205', 'r50_voc07'):
        assert schedules[name][0].type == 'CosineAnnealingLR' and schedules[name][0].T_max == 12
