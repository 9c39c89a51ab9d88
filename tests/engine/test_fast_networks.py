"""The lines of a config that make networks faster: the numbers and the checkpoints stay."""

import copy

import pytest
import torch
from helpers import TINY_CDC, make_runner
from torch._dynamo import register_backend

from cdc_mm.engine import read_config

compiled = []


@register_backend
def cdc_mm_test(graph, inputs):
    compiled.append(len(inputs))
    return graph.forward


def train(folder, **options):
    model = copy.deepcopy(TINY_CDC)
    model['backbone']['norm_cfg'] = dict(type='SplitBN', num_splits=4)
    runner = make_runner(
        folder,
        model,
        val_cfg=None,
        val_dataloader=None,
        val_evaluator=None,
        optim_wrapper=dict(optimizer=dict(type='ForeachLARS', lr=0.1, momentum=0.9)),
        **options,
    )
    runner.train()
    return runner, torch.load(folder / 'epoch_1.pth', weights_only=True)['state_dict']


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
    return train(tmp_path_factory.mktemp('plain'))[1]


@pytest.mark.parametrize(
    'options', [dict(memory_format='channels_last'), dict(compile=dict(backend='cdc_mm_test'))]
)
def test_a_line_changes_neither_checkpoint_nor_numbers(options, plain, tmp_path):
    compiled.clear()
    runner, state = train(tmp_path, **options)
    network = runner.model.encoder.backbone
    seen = []
    network.layers[-1].register_forward_hook(lambda *args: seen.append(args[-1]))
    network(torch.randn(2, 1, 32, 32))
    in_channels_last = seen[0].is_contiguous(memory_format=torch.channels_last)
    assert in_channels_last == ('memory_format' in options)
    assert bool(compiled) == ('compile' in options)
    assert list(state) == list(plain)
    for name, value in plain.items():
        torch.testing.assert_close(state[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_refuses_another_memory_format(tmp_path):
    with pytest.raises(ValueError, match="memory_format must be 'channels_last'"):
        train(tmp_path, memory_format='channels_first')


def test_they_are_options_of_the_tools():
    options = {'memory_format': 'channels_last', 'compile': True}
    cfg = read_config('configs/cdc_r18_cifar10.py', options)
    assert {name: cfg[name] for name in options} == options
