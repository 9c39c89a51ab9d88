"""tools/leaderboard.py as a user calls it; what it says equals what the other tools say."""

import json

import mmengine
import numpy as np
import pytest
from helpers import ROOT

from cdc_mm.experiments import leaderboard as boards
from cdc_mm.experiments.judging import train_and_judge
from cdc_mm.experiments.methods import Method

FOLDER = ROOT / 'tests/out_of_tree'
# On a network that trains in a moment.
TINY_MOCO = f"""
_base_ = {str(ROOT / 'configs/baselines/mocov2/mocov2_digits.py')!r}
model = dict(queue_len=128, backbone=dict(channels=(4, 4, 4, 8)), neck=dict(in_channels=8))
train_cfg = dict(max_epochs=1)
default_hooks = dict(checkpoint=dict(interval=1))
"""
# Learns from labels.
TINY_CLASSIFIER = f"""
_base_ = [{str(ROOT / 'configs/_base_/datasets/digits_images.py')!r},
          {str(ROOT / 'configs/_base_/runtime.py')!r}]
model = dict(
    type='ImageClassifier',
    backbone=dict(type='SmallConvNet', in_channels=1, channels=(4, 8), strides=(2, 2)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=8))
data_preprocessor = dict(type='ClsDataPreprocessor')
val_evaluator = test_evaluator = dict(type='Accuracy')
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
train_cfg = dict(by_epoch=True, max_epochs=1)
val_cfg = test_cfg = dict()
default_hooks = dict(checkpoint=dict(interval=1))
"""
# Starts from the pretext's network, which is frozen.
ROWS = f"""
_base_ = {str(FOLDER / 'softmax_rows.py')!r}
pretrained = 'none.pth'
store_dir = 'none'
channels = (4, 4, 4, 8)
encoder = dict(weights=pretrained, backbone=dict(channels=channels))
model = dict(feat_dim=8, backbone=encoder)
train_dataloader = dict(dataset=dict(encoder=encoder, store_dir=store_dir))
"""


@pytest.fixture
def methods(tmp_path, monkeypatch):
    """A pretext, a clusterer that starts from it, and an estimator, in place of those shipped."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setenv('PYTHONPATH', str(FOLDER))
    configs = tmp_path / 'configs'
    configs.mkdir()
    (configs / 'moco.py').write_text(TINY_MOCO)
    (configs / 'taught.py').write_text(TINY_CLASSIFIER)
    (configs / 'rows.py').write_text(ROWS.replace("'none'", repr(str(tmp_path / 'store'))))
    found = dict(
        kmeans=Method('kmeans', 'K-means', estimator=dict(type='KMeans', n_init=2)),
        moco=Method('moco', 'MoCo', str(configs / 'moco.py')),
        rows=Method('rows', 'Rows', str(configs / 'rows.py'), 'moco'),
    )
    monkeypatch.setattr(boards, 'find_methods', lambda kind: found)
    return found


def test_a_leaderboard_of_every_kind(call, methods, tmp_path, monkeypatch, capsys):
    """One run as a process, the others here; then nothing is run again."""
    started, launch = [], boards.launch_run

    def mostly_here(run, device):
        started.append(str(run))
        if run.method.name == 'softmax_digits':
            return launch(run, device)
        train_and_judge(str(run.config_file), run.num_clusters)
        return type('Done', (), dict(poll=lambda self: 0, returncode=0))()

    monkeypatch.setattr(boards, 'launch_run', mostly_here)
    out = tmp_path / 'out'
    args = ('leaderboard', '--data', 'digits', '--seeds', 1, '--out', out)
    names = f'rows,kmeans,{tmp_path / "configs/taught.py"},{FOLDER / "softmax_digits.py"}'
    call(*args, '--methods', names, options=None)
    order = ['moco', 'rows', 'kmeans', 'taught', 'softmax_digits']
    assert started == [f'{name}, seed 0' for name in order]
    found = {name: mmengine.load(out / f'runs/{name}/seed0/metrics.json') for name in order}
    assert {name: found[name]['kind'] for name in order} == dict(
        moco='pretext',
        rows='clusterer',
        kmeans='estimator',
        taught='classifier',
        softmax_digits='clusterer',
    )
    assert all(result['num_samples'] == 360 for result in found.values())
    assert found['softmax_digits']['threads'] == 1
    assert all(result['seconds'] > 0 < result['memory'] for result in found.values())

    # The same by the other tools, on the same checkpoints.
    run = out / 'runs/softmax_digits/seed0'
    call('test', f'{run}.py', run / 'epoch_2.pth', '--work-dir', tmp_path / 'test', '--out',
         tmp_path / 'test.json', '--out-item', 'metrics')  # fmt: skip
    tested = mmengine.load(tmp_path / 'test.json')
    for name in ('acc', 'nmi', 'ari', 'linear_cv', 'silhouette', 'size_entropy'):
        # The folds of linear_cv are others, as the images come in another order.
        close = pytest.approx(tested[f'clustering/{name}'], abs=3 if name == 'linear_cv' else 1e-3)
        assert found['softmax_digits'][name] == close, name
    run = out / 'runs/moco/seed0'
    for tool in ('kmeans', 'knn'):
        call(f'eval_{tool}', f'{run}.py', run / 'epoch_1.pth', '--out', tmp_path / f'{tool}.json',
             '--cache-dir', tmp_path / 'cache')  # fmt: skip
    evaluated = mmengine.load(tmp_path / 'kmeans.json')
    assert all(found['moco'][x] == pytest.approx(evaluated[x]) for x in ('acc', 'nmi', 'ari'))
    knn = mmengine.load(tmp_path / 'knn.json')['top1_t0.07']
    assert found['moco']['knn'] == pytest.approx(knn)
    # The rows are of the network that the pretext has trained.
    weights = mmengine.Config.fromfile(out / 'runs/rows/seed0.py').encoder.weights
    assert weights == str(run / 'epoch_1.pth')

    started.clear()
    capsys.readouterr()
    call(*args, '--methods', names, options=None)
    text = capsys.readouterr().out
    assert '| itself, from labels |' in text
    assert '`tools/leaderboard.py --data digits --seeds 1 --methods ' in text
    assert started == [] and (out / 'leaderboard.md').read_text() in text
    content = json.loads((out / 'leaderboard.json').read_text())
    accs = [entry['metrics']['acc']['mean'] for entry in content['results']]
    assert accs == sorted((result['acc'] for result in found.values()), reverse=True)
    assert (out / 'leaderboard.png').is_file()
    with np.load(out / 'runs/kmeans/seed0/predictions.npz') as kept:
        assert kept['cluster'].shape == (360,) and kept['image'][3] == '3'


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['--methods', 'mocow'], "no method 'mocow'; near it: moco"),
        (['--methods', 'mine.py'], 'there is no config mine.py'),
        (['--jobs', '0'], '--jobs must be at least 1'),
        (['--data', 'nowhere'], 'there is no folder nowhere'),
        (['--seeds', '0'], 'must be at least 1'),
    ],
)
def test_a_mistake_ends_in_one_line_before_anything_trains(call, methods, tmp_path, args, message):
    with pytest.raises(SystemExit) as stopped:
        call('leaderboard', '--data', 'digits', '--out', tmp_path / 'out', *args, options=None)
    assert str(stopped.value).startswith('error: ') and message in str(stopped.value)
    assert not (tmp_path / 'out').exists()
