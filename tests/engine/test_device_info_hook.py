import json

import numpy as np
import pytest
import torch
from helpers import TINY_CDC, make_runner
from mmengine.logging import HistoryBuffer, MessageHub
from torch.utils._python_dispatch import TorchDispatchMode

from cdc_mm.engine.hooks import device_info_hook
from cdc_mm.engine.hooks.device_info_hook import DeviceHistory, note

# What makes the host wait for a GPU: a number or a number of elements that only the device knows.
WAITS = ('aten._local_scalar_dense', 'aten.nonzero', 'aten.masked_select', 'aten.equal')


class Waits(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if str(func.overloadpacket) in WAITS:
            self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


def train(tmp_path, kind, monkeypatch):
    """Train an epoch; the waits of each iteration and what was logged."""
    mode, tolist = Waits(), torch.Tensor.tolist
    # It asks a CPU tensor without a call that the mode would see.
    monkeypatch.setattr(
        torch.Tensor, 'tolist', lambda self: mode.seen.append('tolist') or tolist(self)
    )
    runner = make_runner(
        tmp_path / kind,
        TINY_CDC,
        val_cfg=None,
        val_dataloader=None,
        val_evaluator=None,
        optim_wrapper=dict(
            optimizer=dict(_delete_=True, type='SGD', lr=0.01), clip_grad=dict(max_norm=1.0)
        ),
        default_hooks=dict(
            runtime_info=dict(type=kind), logger=dict(interval=4), collapse_watch=dict(interval=99)
        ),
    )
    iterate, waits = runner.train_loop.run_iter, []

    def run_iter(*args):
        mode.seen.clear()
        with mode:
            iterate(*args)
        waits.append(len(mode.seen))

    runner.train_loop.run_iter = run_iter
    runner.train()
    (log,) = (tmp_path / kind).glob('*/vis_data/scalars.json')
    logged = [json.loads(line) for line in log.read_text().splitlines()]
    return runner, waits, logged


def test_no_iteration_waits_but_those_that_are_logged(tmp_path, monkeypatch):
    _, reference_waits, expected = train(tmp_path, 'RuntimeInfoHook', monkeypatch)
    runner, waits, logged = train(tmp_path, 'DeviceInfoHook', monkeypatch)
    assert min(reference_waits) >= 7  # loss, two terms, three signs, the norm: so the count counts
    assert [n > 0 for n in waits] == [i % 4 == 3 for i in range(len(waits))], waits
    assert len(logged) == len(expected) > 1
    for ours, theirs in zip(logged, expected, strict=True):
        assert ours.keys() == theirs.keys() and {'loss_infonce', 'grad_norm'} < ours.keys()
        for name in ours.keys() - {'time', 'data_time', 'memory'}:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-6), name
    assert isinstance(runner.message_hub.get_scalar('train/grad_norm'), DeviceHistory)


def test_a_history_is_that_of_mmengine(monkeypatch):
    monkeypatch.setattr(device_info_hook, '_MOST_WAITING', 3)
    ours, theirs = DeviceHistory(), HistoryBuffer()
    for value in torch.rand(8):
        ours.update(value)
        theirs.update(value.item())
        assert len(ours._waiting) < 3
        if len(theirs.data[0]) in (2, 7, 8):
            for name in ('mean', 'max', 'min'):
                assert getattr(ours, name)(2) == getattr(theirs, name)(2)
                assert getattr(ours, name)() == getattr(theirs, name)()
            assert ours.current() == theirs.statistics('current') == ours.statistics('current')
            for a, b in zip(ours.data, theirs.data, strict=True):
                np.testing.assert_array_equal(a, b)


def test_numbers_and_what_a_resumed_run_brings_are_taken():
    hub = MessageHub('device_info')
    hub.update_scalar('a', 1.0)
    note(hub, 'b', 2.0)
    note(hub, 'a', torch.tensor([3.0], requires_grad=True))
    assert hub.get_scalar('b').current() == 2.0
    assert hub.get_scalar('a').current() == 3.0 and hub.state_dict()
