import copy

import pytest
import torch
from mmpretrain.registry import MODELS
from torch import nn
from torch.nn.utils import parametrizations

from cdc_mm.models.utils import inference_copy


def at_rest(network, seed=0):
    """In evaluation mode, with statistics that a norm which is left out or doubled would betray."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value, low, high in (
                (module.running_mean, -0.5, 0.5), (module.running_var, 0.5, 2.0),
                (module.weight, 0.5, 1.5), (module.bias, -0.5, 0.5),
            ):  # fmt: skip
                value.data.uniform_(low, high, generator=generator)
    return network.eval()


def images_of(size, count=3):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def norms(network):
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def assert_same_rows(network, fast, images, most=1e-5):
    with torch.no_grad():
        expected, rows = network(images), fast(images)
    assert (rows - expected).norm() <= most * expected.norm()


NETWORKS = dict(
    timm=dict(type='TimmEncoder', name='tf_efficientnet_lite0'),
    timm_pre_activation=dict(type='TimmEncoder', name='resnetv2_18'),
    torchvision=dict(type='TorchvisionEncoder', name='resnet18'),
    mmpretrain=dict(type='Encoder', backbone=dict(type='ResNet', depth=18)),
    split=dict(type='Encoder', backbone=dict(type='SmallConvNet', norm_cfg=dict(type='SplitBN'))),
)


@pytest.mark.parametrize('name', NETWORKS)
def test_rows_of_the_copy(name):
    try:
        network = MODELS.build(NETWORKS[name])
    except ModuleNotFoundError:
        pytest.skip('timm is not installed')
    at_rest(network)
    before = copy.deepcopy(network.state_dict())
    images = images_of(64)
    fast = inference_copy(network, images[:2])
    assert_same_rows(network, fast, images)
    # A norm after a sum cannot be folded.
    left = 9 if name == 'timm_pre_activation' else 0
    assert norms(fast) == left < norms(network)
    assert not fast.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_in_inference_mode_too():
    network = at_rest(MODELS.build(NETWORKS['mmpretrain']))
    with torch.inference_mode():
        fast = inference_copy(network, images_of(32))
    assert norms(fast) == 0
    assert_same_rows(network, fast, images_of(32))


class Block(nn.Module):
    """A pair that can be folded, and another one, side by side, that cannot."""

    def __init__(self, bias=False):
        super().__init__()
        self.good = nn.Sequential(nn.Conv2d(3, 4, 3, bias=True), nn.BatchNorm2d(4))
        self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=bias)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        return self.middle(self.good(x)).mean((2, 3))


class NormFirst(Block):
    def middle(self, x):
        return self.conv(self.norm(x))


class UsedTwice(Block):
    def middle(self, x):
        x = self.conv(x)
        return x + self.norm(x)


class ChangedInPlace(Block):
    def middle(self, x):
        return self.norm(self.conv(x).mul_(2))


class NormOfTwo(Block):
    def middle(self, x):
        return self.norm(self.conv(x)) + self.norm(x)


class OnceWithout(Block):
    def middle(self, x):
        return self.norm(self.conv(x)) + self.conv(x)


class OneWeight(Block):
    def __init__(self):
        super().__init__()
        self.other = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.other.weight = self.conv.weight

    def middle(self, x):
        return self.norm(self.other(self.norm(self.conv(x))))


class Parametrized(Block):
    def __init__(self):
        super().__init__()
        parametrizations.weight_norm(self.conv)

    def middle(self, x):
        return self.norm(self.conv(x))


class StatisticsOfBatch(Block):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(4, track_running_stats=False)

    def middle(self, x):
        return self.norm(self.conv(x))


@pytest.mark.parametrize(
    'kind',
    [
        NormFirst, UsedTwice, ChangedInPlace, NormOfTwo, OnceWithout, OneWeight, Parametrized,
        StatisticsOfBatch,
    ],
)  # fmt: skip
def test_what_stands_side_by_side_is_not_taken_for_a_pair(kind):
    network = kind()
    if kind is not StatisticsOfBatch:
        at_rest(network)
    network.eval()
    fast = inference_copy(network, images_of(8))
    assert type(fast.good[1]) is nn.Sequential and type(fast.norm) is nn.BatchNorm2d
    assert_same_rows(network, fast, images_of(8))


class CalledTwice(Block):
    def middle(self, x):
        return self.norm(self.conv(self.norm(self.conv(x))))


def test_a_pair_that_is_called_twice():
    network = at_rest(CalledTwice(bias=True))
    fast = inference_copy(network, images_of(8))
    assert norms(fast) == 0
    assert_same_rows(network, fast, images_of(8))


class Louder(nn.BatchNorm2d):
    def forward(self, x):
        return 1.01 * super().forward(x)


class BatchDependent(nn.Module):
    def forward(self, x):
        return x + torch.rand(1)


@pytest.mark.parametrize('what', ['a norm that does more', 'rows by chance'])
def test_the_network_itself_where_its_rows_are_others(what):
    more = Louder(4) if what == 'a norm that does more' else nn.BatchNorm2d(4)
    rest = BatchDependent() if what == 'rows by chance' else nn.Identity()
    network = at_rest(nn.Sequential(nn.Conv2d(3, 4, 3), more, nn.Flatten(), rest))
    assert inference_copy(network, images_of(8)) is network


def test_the_network_itself_where_there_is_nothing_to_fold():
    network = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Flatten(2), nn.LayerNorm(4)).eval()
    assert inference_copy(network, images_of(8)) is network


def test_rows_of_a_part():
    """Of a network that is more than what makes its rows."""
    network = at_rest(nn.ModuleDict(dict(encoder=Block(), head=nn.Linear(4, 2))))
    network.encoder.middle = nn.Identity()
    rows_of = lambda whole, x: whole['encoder'](x)  # noqa: E731
    fast = inference_copy(network, images_of(8), rows_of)
    assert type(fast['encoder'].good[1]) is nn.Sequential
    assert_same_rows(network['encoder'], fast['encoder'], images_of(8))
