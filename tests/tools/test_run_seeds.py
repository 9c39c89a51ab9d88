import itertools
import json
import math
from types import SimpleNamespace

import pytest
import torch
from helpers import CONFIG, ROOT, SMALL, log_of
from mmengine.config import Config
from mmengine.hooks import Hook

from cdc_mm import apis
from cdc_mm.experiments import seeds

# All in one folder: what `call` names each call would count as another setting.
OPTIONS = (
    *SMALL,
    'experiment_name=seeds',
    'train_cfg.max_epochs=2',
    'train_cfg.val_interval=9',
    'train_dataloader.batch_size=400',
)
_count = itertools.count()


class StopAfterEpoch(Hook):
    """What Ctrl-C does after the first epoch has been saved."""

    priority = 'LOWEST'

    def after_train_epoch(self, runner):
        raise KeyboardInterrupt


@pytest.fixture
def in_process(monkeypatch):
    """Train in this process instead of starting one; ``stop_at`` interrupts that run."""
    state = SimpleNamespace(started=[], stop_at=None)
    build_runner = apis.build_runner

    def launch(run, load_from, device):
        state.started.append(f'{run.folder.parent.name} seed {run.seed}')

        def build(cfg):
            cfg.experiment_name = f'in_process{next(_count)}'  # mmengine's loggers go by it
            runner = build_runner(cfg)
            if state.started[-1] == state.stop_at:
                runner.register_hook(StopAfterEpoch())
            return runner

        monkeypatch.setattr(seeds, 'build_runner', build)
        apis.train_and_test(str(run.config_file), load_from)
        return SimpleNamespace(poll=lambda: 0, returncode=0)

    monkeypatch.setattr(seeds, 'launch', launch)
    return state


def test_a_chain_goes_on_where_it_was_stopped(call, in_process, tmp_path, capsys):
    second = tmp_path / 'second.py'
    # Without a step the second stage must end with the weights that it was given.
    second.write_text(
        f"_base_ = '{ROOT / CONFIG}'\n"
        'optim_wrapper = dict(optimizer=dict(lr=0.0, weight_decay=0.0))'
    )
    (tmp_path / 'paper.yml').write_text('second.py: {source: Table 9, runs: 5, acc: [12.3, 4.5]}')
    args = (CONFIG, second, '--work-dir', tmp_path / 'runs', '--seeds', 2)

    in_process.stop_at = 'cdc_digits seed 1'
    with pytest.raises(SystemExit, match='the same command goes on'):
        call('run_seeds', *args, options=OPTIONS)
    folders = {
        (stage, seed): tmp_path / 'runs' / stage / f'seed{seed}'
        for stage in ('cdc_digits', 'cdc_digits+second')
        for seed in (0, 1)
    }
    half = folders['cdc_digits', 1]
    assert (half / 'epoch_1.pth').is_file() and not (half / 'metrics.json').exists()
    finished = folders['cdc_digits', 0] / 'epoch_2.pth'
    before = [finished.stat().st_mtime_ns, (half / 'epoch_1.pth').stat().st_mtime_ns]

    in_process.started.clear()
    in_process.stop_at = None
    call('run_seeds', *args, options=OPTIONS)
    assert in_process.started == ['cdc_digits seed 1', 'cdc_digits+second seed 1']
    assert before == [finished.stat().st_mtime_ns, (half / 'epoch_1.pth').stat().st_mtime_ns]
    assert torch.load(half / 'epoch_2.pth', weights_only=True)['meta']['iter'] == 6
    for seed in (0, 1):
        states = [
            apis.read_state_dict(str(folders[stage, seed] / 'epoch_2.pth'))
            for stage in ('cdc_digits', 'cdc_digits+second')
        ]
        weights = [
            [v for k, v in state.items() if k.startswith('neck') and k.endswith('weight')]
            for state in states
        ]
        assert weights[0] and all(map(torch.equal, *weights))

    results = json.loads((tmp_path / 'runs/cdc_digits+second/results.json').read_text())
    accs = [
        json.loads((folders['cdc_digits', seed] / 'metrics.json').read_text())['clustering/acc']
        for seed in (0, 1)
    ]
    first = results['stages'][0]['metrics']['clustering/acc']
    assert accs[0] != accs[1] and first['values'] == accs
    assert first['mean'] == pytest.approx(sum(accs) / 2)
    assert first['std'] == pytest.approx(abs(accs[0] - accs[1]) / math.sqrt(2))
    table = (tmp_path / 'runs/cdc_digits+second/results.md').read_text()
    assert "| the paper's: Table 9 | 5 | 12.3 +- 4.5 | " in table
    assert table in capsys.readouterr().out

    with pytest.raises(SystemExit, match='other settings') as stopped:
        call('run_seeds', *args, options=(*OPTIONS, 'model.head.t=0.3'))
    assert "'t': 0.3" in str(stopped.value)


def test_each_run_is_a_process_of_its_own(call, tmp_path, capsys):
    options = (*OPTIONS, 'train_cfg.max_epochs=1')
    call('run_seeds', CONFIG, '--work-dir', tmp_path, '--seeds', 1, options=options)
    assert '360 test images' in (tmp_path / 'cdc_digits' / 'results.md').read_text()
    run = tmp_path / 'cdc_digits/seed0'
    assert 'Epoch(test)' in log_of(run)
    assert 'test: ACC' in (run / 'console.log').read_text()

    with pytest.raises(SystemExit, match='1 runs failed: bad/cdc_digits/seed0'):
        call('run_seeds', CONFIG, '--work-dir', tmp_path / 'bad', '--seeds', 1,
             options=(*options, 'train_dataloader.batch_size=2000'))  # fmt: skip
    assert 'Lower train_dataloader.batch_size' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('args', 'options', 'message'),
    [
        (['configs/none.py'], [], 'none.py'),
        ([CONFIG, '--seeds', 0], [], 'must be at least 1, got 0'),
        ([CONFIG], ['test_dataloader=None'], 'has no test_dataloader'),
        ([CONFIG], ['model.head.num_clusters=1'], 'num_clusters must be at least 2'),
        (['configs/cdc_r18_cifar10_folder.py'], [], 'data/cifar10_folder/train'),
    ],
)
def test_mistakes_show_before_anything_runs(call, tmp_path, args, options, message):
    with pytest.raises(SystemExit) as stopped:
        call('run_seeds', *args, '--work-dir', tmp_path / 'runs', options=options)
    assert str(stopped.value).startswith('error: ') and message in str(stopped.value)
    assert not (tmp_path / 'runs').exists()


def test_temperature_sweep(call, in_process, tmp_path, capsys):
    call('analysis_tools/temperature_sweep', CONFIG, '--t', 0.5, 0.1, '--work-dir', tmp_path,
         options=(*OPTIONS, 'train_cfg.max_epochs=1'))  # fmt: skip
    text = capsys.readouterr().out
    assert text.index('t = 0.1\n') < text.index('t = 0.5\n')
    for t in (0.1, 0.5):
        cfg = Config.fromfile(tmp_path / f't{t}' / 'cdc_digits' / 'seed0.py')
        assert cfg.model.head.t == t
        assert (tmp_path / f't{t}' / 'cdc_digits' / 'results.json').is_file()
    assert (tmp_path / 'temperature_sweep.png').stat().st_size > 5000
