import itertools
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import CONFIG, ROOT, SMALL, log_of
from mmengine.config import Config
from mmengine.hooks import Hook
from sklearn.metrics import adjusted_rand_score

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

    def launch(run, load_from, device, processes):
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
    agreement = results['stages'][0]['agreement']
    kept = [dict(np.load(folders['cdc_digits', s] / 'predictions.npz')) for s in (0, 1)]
    assert len(kept[0]['image']) == 360
    expected = adjusted_rand_score(kept[0]['cluster'], kept[1]['cluster'])
    assert agreement['mean'] == pytest.approx(expected)
    assert agreement['with_others'] == pytest.approx([expected] * 2)
    accs = [
        json.loads((folders['cdc_digits', seed] / 'metrics.json').read_text())['clustering/acc']
        for seed in (0, 1)
    ]
    first = results['stages'][0]['metrics']['clustering/acc']
    assert accs[0] != accs[1] and first['values'] == accs
    assert first['mean'] == pytest.approx(sum(accs) / 2)
    assert first['std'] == pytest.approx(abs(accs[0] - accs[1]) / math.sqrt(2))
    table = (tmp_path / 'runs/cdc_digits+second/results.md').read_text()
    row = next(line for line in table.splitlines() if "the paper's" in line).split('|')
    assert [cell.strip() for cell in row[1:4]] == ["the paper's: Table 9", '5', '12.3 +- 4.5']
    assert f'cdc_digits: agreement of seeds (ARI) {expected:.2f}' in table
    assert table in capsys.readouterr().out and 'selected' not in results

    # Nothing is trained again to say which is the best.
    in_process.started.clear()
    call('run_seeds', *args, '--select', options=OPTIONS)
    assert in_process.started == []
    files = [folders['cdc_digits+second', seed] / 'metrics.json' for seed in (0, 1)]
    sure = [json.loads(file.read_text())['clustering/linear_cv'] for file in files]
    best = max((0, 1), key=lambda seed: sure[seed])
    checkpoint = str(folders['cdc_digits+second', best] / 'epoch_2.pth')
    assert (
        sure[0] != sure[1]
        and f'by linear_cv ({sure[best]:.1f}): seed {best}, {checkpoint}'
        in (tmp_path / 'runs/cdc_digits+second/results.md').read_text()
    )
    results = json.loads((tmp_path / 'runs/cdc_digits+second/results.json').read_text())
    assert results['selected'] == dict(
        seed=best, by='clustering/linear_cv', value=sure[best], checkpoint=checkpoint
    )

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


# Networks that train an epoch in a moment, and a linear classifier for them.
TINY = {
    'moco.py': ('baselines/mocov2/mocov2_digits', "model = dict(queue_len=128, backbone=BACKBONE, "
                'neck=dict(in_channels=8))'),
    'cdc.py': ('cdc_digits', 'model = dict(queue_size=100, backbone=BACKBONE, '
               'neck=dict(in_channels=8))'),
    'linear.py': ('linear/linear_digits', 'model = dict(backbone=BACKBONE, '
                  'head=dict(in_channels=8))'),
    'eight.py': ('cdc_digits', 'auto_scale_lr = dict(base_batch_size=1024)\nmodel = dict()'),
    'wide.py': ('linear/linear_digits', 'model = dict(head=dict(in_channels=128))'),
}  # fmt: skip


@pytest.fixture
def tiny(tmp_path):
    folder = tmp_path / 'configs'
    folder.mkdir()
    for name, (base, model) in TINY.items():
        (folder / name).write_text(
            f'_base_ = {str(ROOT / "configs" / base)!r} + ".py"\n'
            + model.replace('BACKBONE', 'dict(channels=(4, 4, 4, 8))')
            + '\ntrain_cfg = dict(max_epochs=1, val_interval=9)\n'
            'default_hooks = dict(checkpoint=dict(interval=1))\n'
        )
    return folder


CHAIN = ('experiment_name=chain', 'train_dataloader.batch_size=64')


def test_a_pretext_is_trained_and_what_follows_it_tested(call, in_process, tiny, tmp_path, capsys):
    call('run_seeds', tiny / 'moco.py', tiny / 'linear.py', '--seeds', 2,
         '--work-dir', tmp_path / 'runs', options=CHAIN)  # fmt: skip
    assert in_process.started == ['moco seed 0', 'moco+linear seed 0',
                                  'moco seed 1', 'moco+linear seed 1']  # fmt: skip
    assert (tmp_path / 'runs/moco/seed0/metrics.json').read_text() == '{}'
    text = capsys.readouterr().out
    assert 'runs/moco/seed0: trained\n' in text and 'moco: trained, not tested.' in text
    stages = json.loads((tmp_path / 'runs/moco+linear/results.json').read_text())['stages']
    assert [sorted(stage['metrics']) for stage in stages] == [[], ['accuracy/top1']]
    # The classifier stands on the backbone that the pretext trained.
    states = [
        apis.read_state_dict(str(tmp_path / f'runs/{stage}/seed1/epoch_1.pth'))
        for stage in ('moco', 'moco+linear')
    ]
    backbone = [k for k in states[1] if k.startswith('backbone.') and k.endswith('weight')]
    assert backbone and all(torch.equal(states[0][k], states[1][k]) for k in backbone)

    in_process.started.clear()
    call('run_seeds', tiny / 'moco.py', tiny / 'linear.py', '--seeds', 2,
         '--work-dir', tmp_path / 'runs', options=CHAIN)  # fmt: skip
    assert in_process.started == []


def test_clusters_and_a_classifier_share_a_table(call, in_process, tiny, tmp_path):
    """A name of one stage only is for that stage."""
    call('run_seeds', tiny / 'cdc.py', tiny / 'linear.py', '--seeds', 1,
         '--work-dir', tmp_path / 'runs', options=(*CHAIN, 'num_clusters=12'))  # fmt: skip
    assert Config.fromfile(tmp_path / 'runs/cdc/seed0.py').model.head.num_clusters == 12
    header, _, cdc, linear = (
        [cell.strip() for cell in line.split('|')[1:-1]]
        for line in (tmp_path / 'runs/cdc+linear/results.md').read_text().splitlines()[:4]
    )
    assert header[:3] == ['', 'seeds', 'ACC'] and header[-1] == 'top1'
    assert cdc[:2] == ['cdc', '1'] and float(cdc[2]) > 0 and cdc[-1] == ''
    assert linear[:3] == ['cdc+linear', '1', ''] and float(linear[-1]) > 0


@pytest.mark.parametrize(
    ('chain', 'options', 'message'),
    [
        (['moco'], [], 'is a pretext: MoCo predicts nothing that could be tested. Append'),
        (['cdc', 'moco'], [], 'is a pretext'),
        (['moco', 'wide'], [], 'It is of another architecture'),
        (['cdc', 'wide'], [], 'starts from'),
        (['eight', 'linear'], [], 'this recipe is for 8 processes, and this is one'),
        (['moco', 'linear', '--select'], [], 'has no ClusteringMetric'),
        (['cdc', 'linear'], ['num_clusterz=3'], 'num_clusterz'),
        (['cdc', 'linear'], ['randomness.seed=3'], '--seeds says how many'),
        (['cdc', 'linear'], ['default_hooks.checkpoint=None'], 'is never saved'),
    ],
)
def test_the_whole_chain_is_checked_before_anything_trains(
    call, in_process, tiny, tmp_path, chain, options, message
):
    with pytest.raises(SystemExit) as stopped:
        flags = [name for name in chain if name.startswith('--')]
        call('run_seeds', *(tiny / f'{name}.py' for name in chain if name not in flags), *flags,
             '--seeds', 1,
             '--work-dir', tmp_path / 'runs', options=(*CHAIN, *options))  # fmt: skip
    assert str(stopped.value).startswith('error: ') and message in str(stopped.value)
    assert in_process.started == [] and not (tmp_path / 'runs').exists()


def test_the_first_stages_file_is_checked_too(call, in_process, tiny, tmp_path):
    with pytest.raises(SystemExit, match=r'there is no checkpoint none\.pth'):
        call('run_seeds', tiny / 'linear.py', '--work-dir', tmp_path / 'runs',
             options=(*CHAIN, 'load_from=none.pth'))  # fmt: skip
    with pytest.raises(SystemExit, match='name its checkpoint'):
        call('run_seeds', tiny / 'linear.py', '--work-dir', tmp_path / 'runs', options=CHAIN)


def test_a_run_of_several_processes(call, tiny, tmp_path, capsys):
    """Without GPUs, by gloo: half the batches a process, and one of them writes."""
    call('run_seeds', tiny / 'cdc.py', '--seeds', 1, '--gpus-per-run', 2,
         '--work-dir', tmp_path / 'runs', options=CHAIN)  # fmt: skip
    run = tmp_path / 'runs/cdc/seed0'
    assert 'GPU' in log_of(run) and 'Distributed training: True' in log_of(run)
    assert torch.load(run / 'epoch_1.pth', weights_only=True)['meta']['iter'] == 1437 // 2 // 64
    assert json.loads((run / 'metrics.json').read_text())['clustering/num_samples'] == 360
    with pytest.raises(SystemExit, match='--gpus-per-run must be at least 1, got 0'):
        call('run_seeds', tiny / 'cdc.py', '--gpus-per-run', 0, '--work-dir', tmp_path / 'no')


def test_a_sweep_ends_with_a_stage_that_has_no_t(call, in_process, tiny, tmp_path):
    call('analysis_tools/temperature_sweep', tiny / 'cdc.py', tiny / 'linear.py', '--t', 0.3,
         '--work-dir', tmp_path / 'sweep', options=CHAIN)  # fmt: skip
    assert Config.fromfile(tmp_path / 'sweep/t0.3/cdc/seed0.py').model.head.t == 0.3
    assert (tmp_path / 'sweep/temperature_sweep.png').is_file()
    with pytest.raises(SystemExit, match='has a temperature t to sweep'):
        call('analysis_tools/temperature_sweep', tiny / 'linear.py', '--work-dir', tmp_path)


def test_a_sweep_sets_t_by_its_name(call, in_process, tiny, tmp_path):
    named = tiny / 'named.py'
    named.write_text(
        (tiny / 'cdc.py')
        .read_text()
        .replace('model = dict(', 't = 0.2\nmodel = dict(head=dict(t=t),')
    )
    call('analysis_tools/temperature_sweep', named, '--t', 0.3, '--work-dir', tmp_path / 'sweep',
         options=CHAIN)  # fmt: skip
    cfg = Config.fromfile(tmp_path / 'sweep/t0.3/named/seed0.py')
    assert (cfg.t, cfg.model.head.t) == (0.3, 0.3)


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
