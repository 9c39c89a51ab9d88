import logging
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
import torchvision
from mmengine.runner import BaseLoop
from mmpretrain.registry import HOOKS, MODELS

from cdc_mm.apis import check_backbone, read_backbone


@pytest.fixture(scope='module')
def resnet():
    """torchvision's, the independent reference of the names."""
    return torchvision.models.resnet18()


def layouts(resnet):
    """The same backbone in the layout of each kind of published file."""
    state = resnet.state_dict()
    backbone = {k: v for k, v in state.items() if not k.startswith('fc.')}
    mlp = {'fc.0.weight': torch.ones(4, 512), 'fc.2.weight': torch.ones(2, 4)}
    momentum = {k: torch.zeros_like(v) for k, v in backbone.items()}

    def prefix(name, weights):
        return {name + k: v for k, v in weights.items()}

    return {
        'torchvision': state,
        'moco v2': dict(
            epoch=800,
            arch='resnet18',
            state_dict=prefix('module.encoder_q.', {**backbone, **mlp}),
        ),
        'moco v3': dict(
            state_dict={
                **prefix('module.momentum_encoder.', {**momentum, **mlp}),
                **prefix('module.base_encoder.', {**backbone, **mlp}),
                'module.predictor.0.weight': torch.ones(3, 3),
            }
        ),
        'mmpretrain': dict(
            state_dict={**prefix('backbone.', backbone), 'head.fc.weight': torch.ones(4, 512)}
        ),
        'cdc': dict(
            state_dict={
                'queue': torch.ones(3, 2),
                'neck.fc0.weight': torch.ones(3, 3),
                **prefix('momentum_encoder.backbone.', momentum),
                **prefix('backbone.', backbone),
            }
        ),
    }


@pytest.fixture
def save(tmp_path):
    def write(content, name='x.pth'):
        torch.save(content, tmp_path / name)
        return str(tmp_path / name)

    return write


@pytest.mark.parametrize('layout', ['torchvision', 'moco v2', 'moco v3', 'mmpretrain', 'cdc'])
def test_reads_every_layout_into_the_resnet_of_mmpretrain(layout, resnet, save):
    weights = read_backbone(save(layouts(resnet)[layout]))
    ours = MODELS.build(dict(type='ResNet', depth=18))
    check_backbone(ours, weights, 'x.pth')
    ours.load_state_dict(weights)
    ours.eval()
    image = torch.randn(2, 3, 64, 64)
    reference = torch.nn.Sequential(*list(resnet.children())[:-2]).eval()
    with torch.no_grad():
        assert torch.allclose(ours(image)[-1], reference(image), atol=1e-5)


def test_reads_the_momentum_encoder(resnet, save):
    weights = read_backbone(save(layouts(resnet)['cdc']), momentum=True)
    assert len(weights) == 120 and not any(value.any() for value in weights.values())
    with pytest.raises(ValueError, match=r'momentum_encoder.backbone.conv1.weight'):
        read_backbone(save(layouts(resnet)['mmpretrain']), momentum=True)


def test_refuses_what_holds_no_backbone(save):
    with pytest.raises(ValueError, match=r'the first is student\.a'):
        read_backbone(save({'student.a': torch.ones(1)}))


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (lambda w: w.pop('layer4.1.bn2.running_var'), '99 of the 100 .*running_var'),
        (lambda w: w.update({'conv1.weight': torch.ones(64, 1, 7, 7)}), r'\(64, 1, 7, 7\), needed'),
        (lambda w: w.update({'layer4.2.conv1.weight': torch.ones(1)}), 'has 1 that it lacks'),
    ],
)
def test_refuses_less_than_the_whole_backbone(spoil, message, resnet, save):
    weights = read_backbone(save(resnet.state_dict()))
    spoil(weights)
    with pytest.raises(ValueError, match=message):
        check_backbone(MODELS.build(dict(type='ResNet', depth=18)), weights, 'x.pth')


def test_counters_of_batch_norm_may_be_missing(resnet, save):
    state = {k: v for k, v in resnet.state_dict().items() if 'num_batches' not in k}
    check_backbone(MODELS.build(dict(type='ResNet', depth=18)), read_backbone(save(state)), 'x.pth')


class TestPretrainedBackboneHook:
    def runner(self, load_from, resume=False):
        model = torch.nn.Module()
        model.backbone = MODELS.build(dict(type='ResNet', depth=18))
        return SimpleNamespace(
            model=model,
            _load_from=load_from,
            _resume=resume,
            _train_loop=Mock(spec=BaseLoop),
            logger=logging.getLogger('test'),
        )

    def build(self, **kwargs):
        return HOOKS.build(dict(type='PretrainedBackboneHook', **kwargs))

    def test_leaves_the_backbone_alone_in_the_checkpoint(self, resnet, save):
        path = save(layouts(resnet)['moco v2'])
        runner = self.runner(path)
        self.build().check(runner)
        checkpoint = torch.load(path)
        self.build().after_load_checkpoint(runner, checkpoint)
        state = checkpoint['state_dict']
        result = runner.model.load_state_dict(state)
        assert not result.missing_keys and not result.unexpected_keys
        assert torch.equal(runner.model.backbone.conv1.weight, resnet.conv1.weight)

    def test_does_not_touch_a_resumed_checkpoint(self, save):
        checkpoint = dict(state_dict={'a': torch.ones(1)}, meta=dict(epoch=1))
        hook, runner = self.build(), self.runner('x.pth', resume=True)
        hook.check(runner)
        hook.after_load_checkpoint(runner, checkpoint)
        assert checkpoint['meta'] == dict(epoch=1)

    def test_does_not_touch_a_checkpoint_to_be_tested(self, save):
        checkpoint = dict(state_dict={'a': torch.ones(1)})
        runner = self.runner('x.pth')
        runner._train_loop = dict(max_epochs=1)  # not built
        self.build().after_load_checkpoint(runner, checkpoint)
        assert list(checkpoint['state_dict']) == ['a']

    def test_refuses_to_start_without_weights(self, resnet, save):
        with pytest.raises(ValueError, match='load_from=FILE'):
            self.build().check(self.runner(None))
        with pytest.raises(FileNotFoundError):
            self.build().check(self.runner('no_such_file.pth'))
        half = {k: v for k, v in resnet.state_dict().items() if not k.startswith('layer4')}
        with pytest.raises(ValueError, match='of the 100 weights of the ResNet'):
            self.build().check(self.runner(save(half)))
