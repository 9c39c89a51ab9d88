import pytest
import torch
from mmpretrain.registry import MODELS


def test_shape_and_width():
    net = MODELS.build(dict(type='SmallConvNet', in_channels=1, channels=(4, 8), strides=(1, 2)))
    (out,) = net(torch.randn(2, 1, 8, 8))
    assert out.shape == (2, 8, 4, 4) and net.feat_dim == 8


def test_refuses_uneven_settings():
    with pytest.raises(ValueError, match='channels has 2 entries and strides 1'):
        MODELS.build(dict(type='SmallConvNet', channels=(4, 8), strides=(1,)))


def test_frozen_layers_neither_learn_nor_move():
    cfg = dict(type='SmallConvNet', channels=(4, 4, 8), strides=(1, 2, 1), frozen_stages=2)
    net = MODELS.build(cfg).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
    net(torch.randn(4, 3, 8, 8))[0].square().mean().backward()
    optimizer.step()
    moved = {
        name.split('.')[1] for name, v in net.state_dict().items() if not v.equal(before[name])
    }
    assert moved == {'2'}


@pytest.mark.parametrize('frozen_stages', [-1, 3])
def test_refuses_to_freeze_layers_it_lacks(frozen_stages):
    with pytest.raises(ValueError, match='between 0 and the 2 layers'):
        MODELS.build(
            dict(type='SmallConvNet', channels=(4, 8), strides=(1, 2), frozen_stages=frozen_stages)
        )
