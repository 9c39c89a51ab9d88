import pickle
import resource

import numpy as np
import pytest
import torch
import torchvision
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling.backbone import build_resnet_backbone
from mmpretrain.registry import MODELS

from cdc_mm.detection import convert_checkpoint, to_detectron2
from cdc_mm.errors import RunError


def spread(model):
    """Give batch norms statistics and weights that show when one is lost or swapped."""
    for name, value in model.state_dict().items():
        if value.ndim == 1:
            torch.nn.init.uniform_(value, 0.5, 1.5) if 'bias' not in name else value.normal_()
    model.eval()
    return model


@pytest.fixture(scope='module')
def resnet():
    """A ResNet-50 with an eighth of the channels, all stages as output."""
    torch.manual_seed(0)
    cfg = dict(type='ResNet', depth=50, stem_channels=8, base_channels=8, out_indices=(0, 1, 2, 3))
    return spread(MODELS.build(cfg))


def detectron2_resnet(depth, eighth):
    cfg = get_cfg()
    cfg.MODEL.RESNETS.DEPTH = depth
    cfg.MODEL.RESNETS.NORM = 'BN'
    cfg.MODEL.RESNETS.STRIDE_IN_1X1 = False
    cfg.MODEL.RESNETS.OUT_FEATURES = ['res2', 'res3', 'res4', 'res5']
    cfg.MODEL.BACKBONE.FREEZE_AT = 0
    if eighth:
        cfg.MODEL.RESNETS.STEM_OUT_CHANNELS = cfg.MODEL.RESNETS.WIDTH_PER_GROUP = 8
        cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 32
    elif depth < 50:
        cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 64
    return build_resnet_backbone(cfg, ShapeSpec(channels=3)).eval()


def layout(name, state):
    mlp = {'fc.0.weight': torch.ones(4, 8), 'fc.2.weight': torch.ones(2, 4)}

    def prefix(name, weights):
        return {name + k: v for k, v in weights.items()}

    other = {k: torch.zeros_like(v) for k, v in state.items()}
    return {
        'cdc': dict(
            state_dict={
                'queue': torch.ones(3, 2),
                **prefix('momentum_encoder.backbone.', other),
                **prefix('backbone.', state),
            }
        ),
        'momentum': dict(
            state_dict={
                **prefix('momentum_encoder.backbone.', state),
                **prefix('backbone.', other),
            }
        ),
        'moco v2': dict(state_dict=prefix('module.encoder_q.', {**state, **mlp})),
        'moco v3': dict(state_dict=prefix('module.base_encoder.', {**state, **mlp})),
        'torchvision': {**state, 'fc.weight': torch.ones(4, 8)},
    }[name]


@pytest.mark.parametrize('name', ['cdc', 'momentum', 'moco v2', 'moco v3', 'torchvision'])
def test_detectron2_gives_the_features_of_ours(name, resnet, tmp_path):
    source, out = tmp_path / 'x.pth', tmp_path / 'x.pkl'
    torch.save(layout(name, resnet.state_dict()), source)
    assert convert_checkpoint(str(source), str(out), momentum=name == 'momentum') == (53, 50)
    theirs = detectron2_resnet(50, eighth=True)
    DetectionCheckpointer(theirs).load(str(out))
    image = torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        for ours, features in zip(resnet(image), theirs(image).values(), strict=True):
            assert features.std() > 0.1
            torch.testing.assert_close(features, ours, atol=1e-5, rtol=1e-5)


def test_detectron2_gives_the_features_of_torchvision(tmp_path):
    source, out = tmp_path / 'x.pth', tmp_path / 'x.pkl'
    resnet = spread(torchvision.models.resnet18())
    torch.save(resnet.state_dict(), source)
    assert convert_checkpoint(str(source), str(out), depth=18) == (20, 18)
    theirs = detectron2_resnet(18, eighth=False)
    DetectionCheckpointer(theirs).load(str(out))
    image = torch.randn(1, 3, 64, 64)
    reference = torch.nn.Sequential(*list(resnet.children())[:-2])
    with torch.no_grad():
        torch.testing.assert_close(theirs(image)['res5'], reference(image), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ('depth', 'convolutions'), [(18, 20), (34, 36), (50, 53), (101, 104), (152, 155)]
)
def test_knows_every_depth(depth, convolutions):
    with torch.device('meta'):
        state = getattr(torchvision.models, f'resnet{depth}')().state_dict()
    state = {k: v for k, v in state.items() if not k.startswith('fc.')}
    weights, found = to_detectron2(state)
    assert found == depth
    assert sum(v.ndim == 4 for v in weights.values()) == convolutions
    assert len(weights) == 5 * convolutions  # a batch norm has two weights and two statistics


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (
            lambda s: [s.pop(k) for k in list(s) if k.startswith(('layer3', 'layer4'))],
            r'no complete ResNet: .* ResNet-50, 145 of its 265 weights .*layer3',
        ),
        (lambda s: s.pop('layer4.2.bn3.running_var'), r'ResNet-50, 1 of its 265 .*running_var'),
        (lambda s: s.update({'layer4.3.conv1.weight': torch.ones(1)}), '1 do not belong to it'),
        (lambda s: s.update({'conv1.weight': torch.ones(8, 3, 3, 3)}), 'is 3x3, the stem for'),
        (lambda s: s.pop('conv1.weight'), 'holds no backbone'),
    ],
)
def test_refuses_anything_but_a_whole_resnet(spoil, message, resnet, tmp_path):
    state = resnet.state_dict()
    spoil(state)
    torch.save(state, tmp_path / 'x.pth')
    with pytest.raises(ValueError, match=rf'x\.pth.*{message}'):
        convert_checkpoint(str(tmp_path / 'x.pth'), str(tmp_path / 'x.pkl'))
    assert [path.name for path in tmp_path.iterdir()] == ['x.pth']


def test_refuses_another_depth_and_other_endings(resnet, tmp_path):
    source = str(tmp_path / 'x.pth')
    torch.save(resnet.state_dict(), source)
    with pytest.raises(ValueError, match='holds a ResNet-50, the detector has a ResNet-101'):
        convert_checkpoint(source, str(tmp_path / 'x.pkl'), depth=101)
    with pytest.raises(ValueError, match=r'must end in \.pkl'):
        convert_checkpoint(source, str(tmp_path / 'out.pth'))
    assert [path.name for path in tmp_path.iterdir()] == ['x.pth']


def test_a_failed_write_leaves_the_old_file(resnet, tmp_path):
    source, out = tmp_path / 'x.pth', tmp_path / 'new' / 'x.pkl'
    torch.save(resnet.state_dict(), source)
    convert_checkpoint(str(source), str(out))
    before = out.read_bytes()
    assert isinstance(pickle.loads(before)['model']['stem.conv1.weight'], np.ndarray)

    # The kernel refuses to write more, in the middle of the file.
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limit[1]))
    try:
        with pytest.raises(RunError, match=r'could not write .*x\.pkl'):
            convert_checkpoint(str(source), str(out))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert [path.name for path in out.parent.iterdir()] == ['x.pkl'] and out.read_bytes() == before
