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
