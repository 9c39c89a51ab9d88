"""Scheduling of the runs; tests/tools/test_run_seeds.py trains."""

import json
import os
import signal
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from cdc_mm.experiments import StageRun, run_chains, seeds, visible_devices
from cdc_mm.processes import end_with_parent


def make_run(root, stage, seed, **train_cfg):
    folder = root / stage / f'seed{seed}'
    folder.mkdir(parents=True)
    cfg = Config(dict(train_cfg=train_cfg or dict(max_epochs=4)))
    return StageRun(stage, seed, f'{stage}.py', cfg, folder)


def name(run):
    return f'{run.stage} seed {run.seed}'


class Machine:
    """Stands for the processes: each lasts two looks and then has written its metrics."""

    def __init__(self, fails=()):
        self.fails, self.started, self.busy = fails, [], set()

    def launch(self, run, load_from, device, processes):
        assert device not in self.busy, 'two processes on one device'
        self.busy.add(device)
        self.started.append((name(run), device, load_from))
        self.processes = processes
        looks = iter((None, None, 0))

        def poll():
            process.returncode = next(looks)
            if process.returncode is not None:
                self.busy.remove(device)
                (run.folder / 'last_checkpoint').write_text(f'{run.folder}/epoch_4.pth')
                if name(run) in self.fails:
                    process.returncode = 1
                    (run.folder / 'console.log').write_text('noise\nerror: no such thing\nhint')
                else:
                    run.metrics_file.write_text(json.dumps({'clustering/acc': 50.0}))
            return process.returncode

        process = SimpleNamespace(poll=poll, returncode=None)
        return process


@pytest.fixture
def chains(tmp_path):
    return [[make_run(tmp_path, 'a', seed), make_run(tmp_path, 'a+b', seed)] for seed in range(3)]


def run(monkeypatch, chains, devices, **kwargs):
    machine = Machine(**kwargs)
    monkeypatch.setattr(seeds, 'launch', machine.launch)
    return machine, run_chains(chains, devices, poll_seconds=0)


def test_each_gpu_has_one_process_and_stages_follow_each_other(monkeypatch, chains):
    machine, failed = run(monkeypatch, chains, ['0', '1'])
    assert not failed
    names = [started[0] for started in machine.started]
    assert names[:2] == ['a seed 0', 'a seed 1'] and len(set(names)) == 6
    assert {device for _, device, _ in machine.started} == {'0', '1'}
    for seed in range(3):
        first, second = (
            next(s for s in machine.started if s[0] == f'{stage} seed {seed}')
            for stage in ('a', 'a+b')
        )
        assert machine.started.index(first) < machine.started.index(second)
        assert first[1] == second[1]
        assert first[2] is None
        assert second[2] == f'{chains[seed][0].folder}/epoch_4.pth'


def test_groups_of_gpus_are_handed_out(monkeypatch, chains):
    machine = Machine()
    monkeypatch.setattr(seeds, 'launch', machine.launch)
    assert not run_chains(chains, ['0,1', '2,3'], processes=2, poll_seconds=0)
    assert {device for _, device, _ in machine.started} == {'0,1', '2,3'}
    assert machine.processes == 2


@pytest.mark.parametrize(('processes', 'load_from'), [(1, None), (1, 'x.pth'), (2, 'x.pth')])
def test_the_command_of_a_run(monkeypatch, chains, processes, load_from):
    commands = []
    monkeypatch.setattr(seeds.subprocess, 'Popen', lambda *a, **k: commands.append((*a, k)))
    seeds.launch(chains[0][0], load_from, '4,5', processes)
    ((command, kwargs),) = commands
    assert kwargs['env']['CUDA_VISIBLE_DEVICES'] == '4,5'
    launcher = ['torch.distributed.run', '--standalone', '--nproc-per-node=2', '-m']
    expected = ['-m', *(launcher if processes == 2 else []), 'cdc_mm.experiments']
    expected += [str(chains[0][0].config_file)]
    expected += ['--load-from', 'x.pth'] if load_from else []
    expected += ['--launcher', 'pytorch'] if processes == 2 else []
    assert command[1:] == expected
    assert kwargs['preexec_fn'] is end_with_parent


def test_finished_runs_are_not_redone(monkeypatch, chains):
    chains[0][0].metrics_file.write_text('{}')
    (chains[0][0].folder / 'last_checkpoint').write_text('before.pth')
    for done in chains[1]:
        done.metrics_file.write_text('{}')
    machine, _ = run(monkeypatch, chains, [None])
    assert [(started[0], started[2]) for started in machine.started] == [
        ('a+b seed 0', f'{chains[0][0].folder}/before.pth'),
        ('a seed 2', None),
        ('a+b seed 2', f'{chains[2][0].folder}/epoch_4.pth'),
    ]


def test_a_failure_ends_its_chain_only_and_says_why(monkeypatch, chains, capsys):
    machine, failed = run(monkeypatch, chains, [None], fails=['a seed 1'])
    assert failed == [chains[1][0]]
    names = [started[0] for started in machine.started]
    assert 'a+b seed 1' not in names and 'a+b seed 2' in names
    text = capsys.readouterr().out
    assert f'{chains[1][0]}: failed' in text and 'error: no such thing\nhint' in text
    assert 'noise' not in text


@pytest.mark.parametrize('stop', [signal.SIGINT, signal.SIGTERM])
def test_processes_end_when_the_tool_is_stopped(monkeypatch, request, chains, stop):
    ended = []

    def poll():
        os.kill(os.getpid(), stop)

    process = SimpleNamespace(
        poll=poll, terminate=lambda: ended.append('told'), wait=lambda: ended.append('ended')
    )
    monkeypatch.setattr(seeds, 'launch', lambda *args: process)
    # In the background SIGINT may be ignored, and this would wait for it for ever.
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, interrupt))
    with pytest.raises(SystemExit, match='the same command goes on'):
        run_chains(chains, ['0', '1'], poll_seconds=0)
    assert ended == ['told', 'told', 'ended', 'ended']


def test_the_status_tells_how_far_and_how_long(monkeypatch, chains, capsys):
    monkeypatch.setattr(seeds, '_STATUS_SECONDS', 0)
    run(monkeypatch, chains[:1], [None])
    text = capsys.readouterr().out
    assert 'a/seed0 at 0/4; 0% of all, time left not known yet' in text
    assert 'a+b/seed0 at 0/4; 50% of all, about 0:00:00 left' in text


def test_progress_is_read_from_the_log(tmp_path):
    by_epoch, by_iter = make_run(tmp_path, 'a', 0), make_run(tmp_path, 'b', 0, max_iters=100)
    assert (by_epoch.length, by_epoch.done, by_iter.length) == (4, 0, 100)
    for stamp, lines in (
        ('20260101_000000', ['{"loss": 1, "epoch": 3, "iter": 33, "step": 33}']),
        (
            '20260102_000000',
            [
                '{"loss": 1, "epoch": 2, "iter": 22, "step": 22}',
                '{"clustering/acc": 3.0, "step": 2}',
                '{"loss": 1, "epo',
            ],
        ),
    ):
        for stage_run in (by_epoch, by_iter):
            path = stage_run.folder / stamp / 'vis_data' / 'scalars.json'
            path.parent.mkdir(parents=True)
            path.write_text('\n'.join(lines))
    assert (by_epoch.done, by_iter.done) == (2, 22)
    by_iter.metrics_file.write_text('{}')
    assert by_iter.done == 100


@pytest.mark.parametrize(
    ('count', 'variable', 'expected'),
    [(0, None, [None]), (0, '', [None]), (2, None, ['0', '1']), (2, '4,GPU-x', ['4', 'GPU-x'])],
)
def test_visible_devices(monkeypatch, count, variable, expected):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: count)
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    if variable is not None:
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', variable)
    assert visible_devices() == expected


@pytest.mark.parametrize(
    ('count', 'per_run', 'expected'),
    [(4, 2, ['4,5', '6,7']), (5, 2, ['4,5', '6,7']), (2, 2, ['4,5']), (0, 8, [None])],
)
def test_visible_devices_in_groups(monkeypatch, count, per_run, expected):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: count)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', ','.join('45678'[:count]))
    assert visible_devices(per_run) == expected
    if count:
        with pytest.raises(ValueError, match=f'--gpus-per-run {count + 1}: there are {count}'):
            visible_devices(count + 1)
