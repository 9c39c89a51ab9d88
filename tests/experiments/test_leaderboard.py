"""Leaderboards: which methods there are, in which order they run, how they are judged and told."""

import json
import time
from dataclasses import replace
from types import SimpleNamespace

import generated
import mmengine
import numpy as np
import pytest
import torch
from helpers import ROOT
from mmengine.config import Config
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from cdc_mm.experiments import leaderboard as boards
from cdc_mm.experiments.judging import BoardImages, Stopwatch, judge_clusters, train_and_judge
from cdc_mm.experiments.leaderboard import (
    BoardRun,
    Data,
    Leaderboard,
    plan_leaderboard,
    run_leaderboard,
    time_left,
)
from cdc_mm.experiments.leaderboard_table import collect_board, write_leaderboard
from cdc_mm.experiments.methods import Method, choose_methods, find_methods

METAFILES = dict(
    moco="""
Collections: [{Name: MoCo}]
Models:
  - {Name: moco_digits, Config: configs/baselines/moco/moco_digits.py, In Collection: MoCo}
""",
    scan="""
Collections: [{Name: SCAN, Metadata: {Architecture: [MLP]}}]
Models:
  - Name: scan_digits
    Config: configs/baselines/scan/scan_digits.py
    In Collection: SCAN
    Metadata: {Pretext: moco}
  - Name: scan_r18_cifar10
    Config: configs/baselines/scan/scan_r18_cifar10.py
    In Collection: SCAN
    Results:
      - {Dataset: STL-10, Task: Image Clustering, Metrics: {ACC: 75.5}, Quoted: true}
      - {Dataset: CIFAR-10, Task: Image Clustering, Metrics: {ACC: 1.0}}
      - {Dataset: CIFAR-10, Task: Image Clustering, Metrics: {ACC: 81.8, NMI: 71.2}, Quoted: true}
  - Name: scan_digits_selflabel
    Config: configs/baselines/scan/scan_digits_selflabel.py
    In Collection: SCAN
    Metadata: {Pretext: scan_digits}
  - Name: scan_r18_selflabel
    In Collection: SCAN
    Results:
      - {Dataset: CIFAR-10, Task: Image Clustering, Metrics: {ACC: 87.6}, Quoted: true}
""",
    kmeans="""
Collections: [{Name: K-means, Metadata: {Estimator: KMeans, Parameters: {n_init: 10}}}]
Models: []
""",
)


@pytest.fixture
def root(tmp_path):
    for name, text in METAFILES.items():
        folder = tmp_path / 'configs/baselines' / name
        folder.mkdir(parents=True)
        (folder / 'metafile.yml').write_text(text)
    return tmp_path


def test_methods_are_those_of_the_metafiles(root):
    methods = find_methods('digits', root)
    assert methods == dict(
        kmeans=Method('kmeans', 'K-means', estimator=dict(type='KMeans', n_init=10)),
        moco=Method('moco', 'MoCo', 'configs/baselines/moco/moco_digits.py'),
        scan=Method(
            'scan', 'SCAN', 'configs/baselines/scan/scan_digits.py', 'moco',
            quoted=dict(acc=81.8, nmi=71.2),
        ),
        scan_selflabel=Method(
            'scan_selflabel', 'SCAN + selflabel', 'configs/baselines/scan/scan_digits_selflabel.py',
            'scan', quoted=dict(acc=87.6),
        ),
    )  # fmt: skip
    assert find_methods('lite0_rows', root)['scan'].config is None
    (root / 'configs/baselines/moco/metafile.yml').write_text('Models: []')
    with pytest.raises(ValueError, match=r"moco/metafile.yml is no metafile.*'Collections'"):
        find_methods('digits', root)


def test_a_pretext_comes_before_what_starts_from_it(root):
    methods = find_methods('digits', root)
    assert [m.name for m in choose_methods(['all'], methods)] == [
        'kmeans', 'moco', 'scan', 'scan_selflabel',
    ]  # fmt: skip
    chosen = choose_methods(['scan_selflabel', 'moco'], methods)
    assert [m.name for m in chosen] == ['moco', 'scan', 'scan_selflabel']
    with pytest.raises(
        ValueError, match=r"no method 'scann'; near it: scan.* Known are kmeans, mo"
    ):
        choose_methods(['scann'], methods)
    with pytest.raises(ValueError, match=r'there is no config mine\.py'):
        choose_methods(['mine.py'], methods)
    own = root / 'scan.py'
    own.write_text('')
    with pytest.raises(ValueError, match=r'two methods are called scan'):
        choose_methods(['scan', str(own)], methods)


def test_the_shipped_methods_have_configs_that_are_there():
    names = {kind: find_methods(kind) for kind in ('digits', 'lite0_rows')}
    assert {'cdc', 'cdc_recluster', 'mocov2'} <= {k for k, v in names['digits'].items() if v.config}
    assert names['digits']['cdc'].quoted == dict(acc=83.1, nmi=73.4, ari=68.7)
    for methods in names.values():
        for method in methods.values():
            assert method.config is None or (ROOT / method.config).is_file(), method
            assert method.pretext is None or method.pretext in methods, method


RESULT = dict(
    kind='clusterer', acc=50.0, nmi=40.0, ari=30.0, linear_cv=60.0, seconds=8.0, cpu_seconds=7.0,
    memory=100.0, device='CPU', threads=1, load=1.0,
)  # fmt: skip


class Stub:
    """In place of processes: each ends at the second look at it."""

    def __init__(self, monkeypatch):
        self.log, self.most, self.running, self.failing = [], 0, 0, set()
        monkeypatch.setattr(boards, 'launch_run', self.launch)

    def launch(self, run, device):
        assert run.after is None or run.after.finished
        self.log.append(str(run))
        self.running += 1
        self.most = max(self.most, self.running)
        looks, stub = [], self

        class Process:
            returncode = 1 if str(run) in stub.failing else 0

            def poll(self):
                looks.append(None)
                if len(looks) < 2:
                    return None
                stub.running -= 1
                if self.returncode:
                    (run.folder / 'console.log').write_text(
                        'x\nerror: no luck\n(CDC_MM_TRACEBACK=1)'
                    )
                else:
                    mmengine.dump(dict(RESULT, acc=50.0 + run.seed), run.metrics_file)
                return self.returncode

            def terminate(self):
                stub.log.append(f'end {run}')

            def wait(self):
                """Has ended."""

        return Process()


@pytest.fixture
def stub(monkeypatch):
    return Stub(monkeypatch)


@pytest.fixture
def board(tmp_path):
    """Two seeds of a method, a pretext, and a method that starts from it."""
    images = BoardImages(None, np.zeros(4, int), np.array(list('abcd')))
    data = Data('digits', 'digits', {}, images, 8, True, 2)
    methods = [Method('alone', 'Alone', 'x.py'), Method('moco', 'MoCo', 'x.py'),
               Method('scan', 'SCAN', 'x.py', 'moco', quoted=dict(acc=81.8))]  # fmt: skip
    cfg = Config(dict(train_cfg=dict(max_epochs=4)))
    board = Leaderboard(data, methods, [], dict(other='it needs a GPU'), 2, False, tmp_path)
    for seed in range(2):
        runs = {}
        for method in methods:
            folder = tmp_path / 'runs' / method.name / f'seed{seed}'
            folder.mkdir(parents=True)
            runs[method.name] = BoardRun(
                method.name, seed, 'x.py', cfg, folder, method, runs.get(method.pretext), 2
            )
        board.runs += runs.values()
    mmengine.dump({}, tmp_path / 'leaderboard.json')
    return board


def test_seeds_follow_each_other_and_what_is_there_is_not_run_again(board, stub):
    assert run_leaderboard(board, [None], 0) == []
    order = [f'{name}, seed {seed}' for seed in (0, 1) for name in ('alone', 'moco', 'scan')]
    assert stub.log == order and stub.most == 1
    board.runs[1].metrics_file.unlink()
    assert run_leaderboard(board, [None], 0) == [] and stub.log == [*order, 'moco, seed 0']


def test_two_at_a_time(board, stub):
    assert run_leaderboard(board, [None, None], 0) == []
    assert stub.most == 2 and len(set(stub.log)) == len(stub.log) == 6


def test_a_failure_leaves_the_others_alone(board, stub, capsys):
    stub.failing = {'moco, seed 0'}
    failed = run_leaderboard(board, [None], 0)
    assert list(map(str, failed)) == ['moco, seed 0', 'scan, seed 0']
    assert 'scan, seed 0' not in stub.log and len(stub.log) == 5
    assert '[1/6] moco, seed 0: failed: no luck (see ' in capsys.readouterr().out
    text = write_leaderboard(board, ['tools/leaderboard.py'])
    lines = {line.split('|')[1].strip(): line for line in text.splitlines() if line[:1] == '|'}
    assert '| no luck ' in lines['moco, seed 0'] and '| it needs a GPU ' in lines['other']
    assert '| it starts from moco, whose run failed ' in lines['scan, seed 0']
    # Tried again.
    stub.failing = set()
    assert run_leaderboard(board, [None], 0) == [] and stub.log[5:] == [
        'moco, seed 0',
        'scan, seed 0',
    ]
    assert 'no luck' not in write_leaderboard(board, ['tools/leaderboard.py'])


def test_stopped_it_ends_its_processes(board, stub, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(time, 'sleep', interrupt)
    with pytest.raises(SystemExit, match='the same command goes on'):
        run_leaderboard(board, [None, None], 0)
    assert stub.log == ['alone, seed 0', 'moco, seed 0', 'end alone, seed 0', 'end moco, seed 0']
    text = write_leaderboard(board, ['tools/leaderboard.py'])
    assert '6 runs are not finished: the same command goes on.' in text


def test_time_left(board):
    assert time_left(board.runs, 1) is None
    mmengine.dump(dict(RESULT, seconds=20.0), board.runs[0].metrics_file)
    mmengine.dump(dict(RESULT, seconds=50.0), board.runs[1].metrics_file)
    # 20 s of its own kind; 50 s of its own; of SCAN the mean, twice; and 10 s around each.
    assert time_left(board.runs, 1) == pytest.approx(30 + 60 + 2 * 45)
    assert time_left(board.runs, 2) == pytest.approx((30 + 60 + 2 * 45) / 2)


def test_the_table(board, stub):
    run_leaderboard(board, [None], 0)
    for run in board.runs:
        clusters = [0, 0, 1, 1] if run.seed == 0 or run.method.name == 'scan' else [0, 1, 0, 1]
        np.savez(run.predictions_file, image=np.array(list('abcd')), cluster=clusters)
    mmengine.dump(dict(RESULT, acc=90.0, knn=95.0, kind='pretext'), board.runs[1].metrics_file)
    mmengine.dump(dict(RESULT, acc=94.0, knn=97.0, kind='pretext'), board.runs[4].metrics_file)
    text = write_leaderboard(board, ['tools/leaderboard.py', '--data', 'my photos'])
    lines = [line.split('|')[1:-1] for line in text.splitlines() if line[:1] == '|']
    rows = [[cell.strip() for cell in line] for line in lines]
    assert rows[0][:7] == ['method', 'clusters by', 'seeds', 'ACC', 'NMI', 'ARI', 'agreement']
    assert rows[2][:8] == ['MoCo', 'k-means', '2', '92.0 +- 2.8', '40.0 +- 0.0',
                           '30.0 +- 0.0', '-0.50', '96.0 +- 1.4']  # fmt: skip
    by_name = {row[0]: row for row in rows[:5]}
    assert by_name['SCAN (from moco)'][6:] == ['1.00', '', '8.0', '7.0', '100', '81.8 / - / -']
    assert rows[5][0] == 'ACC, seed' and ['Alone', '50.0', '51.0'] in rows
    assert "--data 'my photos'" in text and 'quoted from Table 1' in text
    assert adjusted_rand_score([0, 0, 1, 1], [0, 1, 0, 1]) == -0.5
    content = json.loads((board.out / 'leaderboard.json').read_text())
    assert content['results'][0]['metrics']['acc'] == dict(
        mean=92.0, std=pytest.approx(8**0.5), values=[90.0, 94.0]
    )
    assert (board.out / 'leaderboard.png').stat().st_size > 5000


def test_the_watch_adds_up_the_parts(monkeypatch):
    clock = SimpleNamespace(wall=0.0, cpu=0.0)
    monkeypatch.setattr(time, 'monotonic', lambda: clock.wall)
    monkeypatch.setattr(time, 'process_time', lambda: clock.cpu)
    first, checkpoint = Stopwatch(), dict(meta={})
    first.before_train(None)
    clock.wall, clock.cpu = 5.0, 4.0
    first.before_save_checkpoint(None, checkpoint)
    clock.wall = 100.0  # lost with the part that was not saved
    second = Stopwatch()
    second.after_load_checkpoint(SimpleNamespace(_resume=True), checkpoint)
    second.before_train(None)
    clock.wall, clock.cpu = 103.0, 6.0
    second.stop()
    assert second.spent() == dict(seconds=8.0, cpu_seconds=6.0)
    other = Stopwatch()  # starts from another's weights
    other.after_load_checkpoint(SimpleNamespace(_resume=False), checkpoint)
    other.before_train(None)
    other.stop()
    assert other.spent()['seconds'] == 0


def test_unreadable_images_do_not_count():
    labels = np.array([0, 0, 1, 1] * 5)
    rows = torch.eye(2)[labels].unbind()
    images = BoardImages([dict(inputs=row) for row in rows], labels, np.arange(20).astype(str))
    clusters = 1 - labels
    clusters[3] = -1
    result = judge_clusters(clusters, images, 2)
    assert (
        result['acc'] == 100 and result['num_samples'] == 19 and sum(result['cluster_sizes']) == 19
    )
    assert 'acc' not in judge_clusters(clusters, images._replace(labels=None), 2)


def run_here(monkeypatch):
    """Train in this process."""

    def launch(run, device):
        train_and_judge(str(run.config_file), run.num_clusters)
        return SimpleNamespace(poll=lambda: 0, returncode=0)

    monkeypatch.setattr(boards, 'launch_run', launch)


KMEANS = Method('kmeans', 'K-means', estimator=dict(type='KMeans', n_init=2))


@pytest.mark.parametrize('labelled', [True, False])
def test_a_folder(labelled, tmp_path, monkeypatch):
    """Rows of the packaged network, stored once; a folder without classes is judged by no label."""
    source = generated.image_folder(tmp_path / 'source', images_per_class=3, size=40)
    folder = source
    if not labelled:
        folder = tmp_path / 'photos'
        folder.mkdir()
        for path in source.rglob('*.jpg'):
            path.rename(folder / '_'.join(path.parts[-3:]))
    own = tmp_path / 'small.py'
    own.write_text(
        f'_base_ = {str(ROOT / "configs/folder/scan_lite0.py")!r}\n'
        'num_heads = 2\nnum_components = 4\nnum_neighbors = 2\nepochs = 4\nbatch_size = 12\n'
        'model = dict(num_heads=num_heads, num_components=num_components)\n'
        'rows = dict(num_neighbors=num_neighbors)\n'
        'train_dataloader = dict(batch_size=batch_size, dataset=rows)\n'
        'train_cfg = dict(max_epochs=epochs, val_interval=epochs)\n'
        'default_hooks = dict(checkpoint=dict(interval=epochs))\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(boards, 'find_methods', lambda kind: dict(kmeans=KMEANS))
    monkeypatch.setattr('cdc_mm.engine.runner.check_num_clusters', lambda *args: None)
    args = (str(folder), ['kmeans', str(own)], 1, 'out')
    if not labelled:
        with pytest.raises(ValueError, match=r'no labels .* say --num-clusters'):
            plan_leaderboard(*args)
    board = plan_leaderboard(*args, quick=True, num_clusters=None if labelled else 4)
    stores = list((tmp_path / 'work_dirs/features').iterdir())
    run_here(monkeypatch)
    assert run_leaderboard(board, [None], 0) == []
    text = write_leaderboard(board, ['tools/leaderboard.py'])
    assert list((tmp_path / 'work_dirs/features').iterdir()) == stores
    split = 'trained on 6 images, evaluated on 6 held-out ones'
    assert (split if labelled else 'trained and evaluated on the same 12 images') in text
    assert 'quick' in text.splitlines()[0]
    small = next(entry for entry in collect_board(board) if entry['name'] == 'small')
    assert Config.fromfile('out/runs/small/seed0.py').train_cfg.max_epochs == 1
    assert ('acc' in small['metrics']) == labelled and small['kind'] == 'clusterer'
    if not labelled:
        rows = board.data.images.rows()
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        found = np.load('out/runs/kmeans/seed0/predictions.npz')['cluster']
        expected = KMeans(4, n_init=2, random_state=0).fit_predict(rows)
        assert adjusted_rand_score(found, expected) == 1
    columns = ('ACC', 'NMI') if labelled else ('linear_cv', 'silhouette', 'size_entropy')
    assert all(f'| {name} ' in text for name in columns)


def test_another_leaderboard_stays_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(boards, 'find_methods', lambda kind: dict(kmeans=KMEANS, dbscan=other))
    other = replace(KMEANS, name='dbscan', estimator=dict(type='KMeans', n_init=1))
    plan_leaderboard('digits', ['kmeans'], 2, 'out')
    folder = generated.image_folder(tmp_path / 'photos', images_per_class=1, size=40)
    for args, message in (
        ((str(folder), ['all'], 2, 'out'), 'another leaderboard: data digits there'),
        (('digits', ['all'], 1, 'out'), 'of 2 seeds, and --seeds 1 would leave results out'),
        (('digits', ['all'], 2, 'out', True), '--quick False there, True here'),
        (('digits', ['all'], 0, 'out2'), 'must be at least 1, got 0'),
        (('digits', ['all'], 1, 'out2', False, 1438), 'between 2 and the 1437 training images'),
        (('photo', ['all'], 1, 'out2'), 'there is no folder photo'),
        (('digits', ['x'], 1, 'out2'), "no method 'x'"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            plan_leaderboard(*args)
    assert not (tmp_path / 'out2').exists()
    # More seeds and methods go on, and what there was stays in the table.
    board = plan_leaderboard('digits', ['dbscan'], 3, 'out')
    assert [m.name for m in board.methods] == ['dbscan', 'kmeans']
    assert list(map(str, board.runs)) == [f'dbscan, seed {seed}' for seed in range(3)]
    with pytest.raises(ValueError, match='other settings'):
        changed = replace(KMEANS, estimator=dict(type='KMeans', n_init=3))
        monkeypatch.setattr(boards, 'find_methods', lambda kind: dict(kmeans=changed))
        plan_leaderboard('digits', ['kmeans'], 3, 'out')


def test_what_cannot_run_is_left_out_with_its_reason(tmp_path, monkeypatch):
    amp = tmp_path / 'amp.py'
    amp.write_text(
        f'_base_ = {str(ROOT / "configs/cdc_digits.py")!r}\n'
        "optim_wrapper = dict(type='AmpOptimWrapper')"
    )
    methods = dict(
        kmeans=KMEANS,
        amp=Method('amp', 'AMP', str(amp)),
        after=Method('after', 'After', str(amp), 'amp'),
        rows=Method('rows', 'Rows'),
    )
    monkeypatch.setattr(boards, 'find_methods', lambda kind: methods)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    board = plan_leaderboard('digits', ['all'], 1, str(tmp_path / 'out'))
    assert board.skipped == dict(
        amp='it needs a GPU',
        after='it starts from amp, which cannot run: it needs a GPU',
        rows='it has no config for this data (*_digits.py)',
    )
    assert list(map(str, board.runs)) == ['kmeans, seed 0']
    few = tmp_path / 'few.py'
    few.write_text(
        f'_base_ = {str(ROOT / "configs/cdc_digits.py")!r}\n'
        'test_dataloader = dict(dataset=dict(indices=8))'
    )
    with pytest.raises(ValueError, match=r'few\.py is tested on 8 images of its own'):
        plan_leaderboard('digits', [str(few)], 1, str(tmp_path / 'out'))
