from types import SimpleNamespace

import pytest
import torch
from mmpretrain.registry import HOOKS, MODELS


@pytest.fixture
def runner():
    backbone = dict(type='ResNet', depth=18, stem_channels=4, base_channels=4, frozen_stages=4)
    model = MODELS.build(
        dict(
            type='ImageClassifier',
            backbone=backbone,
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=2, in_channels=32),
        )
    )
    lines = []
    return SimpleNamespace(model=model, logger=SimpleNamespace(info=lines.append), lines=lines)


@pytest.fixture
def hook(runner):
    hook = HOOKS.build(dict(type='FrozenBackboneCheckHook'))
    hook.before_train(runner)
    return hook


def run_epoch(runner):
    runner.model.train()
    runner.model.backbone(torch.randn(4, 3, 32, 32))


def test_frozen_stages_leave_stem_and_stages_unmoved(runner, hook):
    run_epoch(runner)
    hook.after_train_epoch(runner)
    hook.after_train(runner)
    tensors = len(runner.model.backbone.state_dict())
    assert runner.lines == [f'All {tensors} tensors of the frozen backbone are unmoved.']


def test_a_trainable_backbone_is_refused(runner):
    runner.model.backbone.layer2[0].conv1.weight.requires_grad_(True)
    hook = HOOKS.build(dict(type='FrozenBackboneCheckHook'))
    with pytest.raises(ValueError, match=r'1 parameters .*\(layer2.0.conv1.weight'):
        hook.before_train(runner)


def test_a_moved_weight_is_caught(runner, hook):
    with torch.no_grad():
        runner.model.backbone.layer4[1].conv2.weight[0, 0, 0, 0] += 1e-6
    with pytest.raises(RuntimeError, match=r'1 of \d+ tensors .* moved .*layer4.1.conv2.weight$'):
        hook.after_train_epoch(runner)


def test_batch_norm_in_training_mode_is_caught(runner, hook):
    runner.model.backbone.frozen_stages = -1  # no gradient anywhere, but training mode
    run_epoch(runner)
    assert not any(p.requires_grad for p in runner.model.backbone.parameters())
    with pytest.raises(RuntimeError, match=r'bn1.running_mean, bn1.running_var'):
        hook.after_train_epoch(runner)
