import copy

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmpretrain.registry import OPTIMIZERS
from torch import nn
from torch.profiler import ProfilerActivity, profile

from cdc_mm.engine import ForeachLARS


def network(depth=2):
    """Convolutions in channels_last, batch norm, a layer of zeros and one that gets no gradient."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)]
    for _ in range(depth):
        layers += [nn.Conv2d(5, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU()]
    layers += [nn.Flatten(), nn.Linear(5 * 36, 40), nn.Linear(40, 3)]
    nn.init.zeros_(layers[-1].weight)
    net = nn.ModuleDict(dict(body=nn.Sequential(*layers), unused=nn.Linear(2, 2)))
    return net.to(memory_format=torch.channels_last)


def wrap(net, kind, momentum=0.9, decay=0.1):
    excluded = dict(decay_mult=0.0, lars_exclude=True)
    return build_optim_wrapper(
        net,
        dict(
            optimizer=dict(type=kind, lr=2.0, momentum=momentum, weight_decay=decay, eta=0.02),
            # Of both excluded kinds: with weight decay and without.
            paramwise_cfg=dict(custom_keys={'bias': excluded, '1.': dict(lars_exclude=True)}),
        ),
    ).optimizer


def steps(net, optimizer, count, seed=1):
    torch.manual_seed(seed)
    for i in range(count):
        for group in optimizer.param_groups:
            group['lr'] = 2.0 / (1 + i)
        optimizer.zero_grad()
        images = torch.randn(4, 3, 8, 8).to(net['unused'].weight)
        net['body'](images).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize(('momentum', 'decay'), [(0.9, 0.1), (0.0, 0.1), (0.9, 0.0)])
def test_equals_mmpretrains(momentum, decay):
    # In float64, as rounding grows with each step.
    nets = [network().double(), network().double()]
    for net, kind in zip(nets, ('LARS', 'ForeachLARS'), strict=True):
        steps(net, wrap(net, kind, momentum, decay), 6)
    before = network().double().state_dict()
    for name, expected in nets[0].state_dict().items():
        torch.testing.assert_close(nets[1].state_dict()[name], expected, rtol=1e-9, atol=1e-12)
        if name.endswith('weight') and not name.startswith('unused'):
            assert not torch.equal(expected, before[name]), name  # else nothing was compared


def test_a_step_in_float32_equals_mmpretrains():
    nets = [network(), network()]
    for net, kind in zip(nets, ('LARS', 'ForeachLARS'), strict=True):
        steps(net, wrap(net, kind), 1)
    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-6, atol=1e-6)


def test_goes_on_from_a_checkpoint_of_either():
    reference, net = network().double(), network().double()
    for other, kinds in ((reference, ('LARS',) * 3), (net, ('LARS', 'ForeachLARS', 'LARS'))):
        state = None
        for seed, kind in enumerate(kinds):
            optimizer = wrap(other, kind)
            if state is not None:
                optimizer.load_state_dict(copy.deepcopy(state))
            steps(other, optimizer, 2, seed)
            state = optimizer.state_dict()
    for a, b in zip(reference.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-9, atol=1e-12)


def calls(net, optimizer):
    """Calls of a step, those that wait for the device apart."""
    net['body'](torch.randn(4, 3, 8, 8)).square().mean().backward()
    optimizer.step()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        optimizer.step()
    events = [e for e in seen.events() if e.name.startswith('aten::')]
    outer = [e.name for e in events if e.cpu_parent is None or 'Optimizer' in e.cpu_parent.name]
    return outer, [e.name for e in events if e.name in ('aten::item', 'aten::_local_scalar_dense')]


def test_calls_do_not_depend_on_the_number_of_parameters():
    outer = {}
    for depth in (1, 10):
        net = network(depth)
        outer[depth], syncs = calls(net, wrap(net, 'ForeachLARS'))
        assert syncs == []
    # Three buckets: adapted, excluded with weight decay, excluded without.
    assert outer[1] == outer[10] and len(outer[1]) <= 20, outer[10]
    _, syncs = calls(net, wrap(net, 'LARS'))
    assert len(syncs) > 20  # what the reference does, so that the count counts


def test_refuses_values_out_of_range():
    for name in ('lr', 'momentum', 'weight_decay', 'eta', 'eps'):
        with pytest.raises(ValueError, match=f'{name} must not be negative'):
            ForeachLARS([nn.Parameter(torch.zeros(1))], **{'lr': 0.1, name: -1.0})
    assert OPTIMIZERS.get('ForeachLARS') is ForeachLARS
