"""The benchmark of speed works, at toy size; its figures are for the machine that it runs on."""

import importlib.util
import math
import sys

import pytest
import torch
from helpers import ROOT


@pytest.fixture
def run(monkeypatch):
    monkeypatch.chdir(ROOT)
    # It imports its neighbours, and puts its folder onto the path.
    monkeypatch.setattr(sys, 'path', [str(ROOT / 'benchmarks'), *sys.path])
    spec = importlib.util.spec_from_file_location('benchmarks_run', ROOT / 'benchmarks/run.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_everything_runs_at_toy_size(run, capsys):
    threads = torch.get_num_threads()
    rows = run.main(['--quick', '--threads', str(threads)])
    shown = capsys.readouterr().out
    for row in rows:
        assert row.what in shown and row.reference in shown
        if row.ratio is None:
            assert row.note.startswith('skipped: '), row
        else:
            assert math.isfinite(row.ratio) and row.ratio >= 0, row
    whats = ' '.join(row.what for row in rows)
    for name in (
        'training step', 'waits for data', 'views', 'momentum encoder', 'LARS', 'Sinkhorn',
        'InfoNCE', 'JPEG files of 500', 'rows of JPEG', 'neighbours', 'predictions',
    ):  # fmt: skip
        assert name in whats, name
    # LARS and the momentum encoder in a number of calls that does not grow with the network.
    notes = {row.what: row.note for row in rows}
    assert int(notes['LARS, ResNet-50'].split(' calls, 0 waits;')[0]) <= 25
    assert notes['momentum encoder, ResNet-50'].startswith('1 calls, 0 waits')
    assert '| 2.00 (missed) |' in run.table([run.Row('x', 'a', 'b', 2.0, 1.05)])
