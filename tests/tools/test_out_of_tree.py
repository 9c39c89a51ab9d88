"""A clusterer of a user's own, one file and one config beside it, does all that CDC does."""

import csv

import pytest
import torch
from helpers import ROOT, log_of, make_runner
from mmpretrain.registry import MODELS

from cdc_mm.checkpoints import read_state_dict

FOLDER = ROOT / 'tests/out_of_tree'


@pytest.fixture(params=['softmax_digits', 'softmax_rows'])
def config(request, monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return FOLDER / f'{request.param}.py'


@pytest.fixture
def options(config, tmp_path):
    if config.stem == 'softmax_digits':
        return []
    torch.manual_seed(0)
    backbone = dict(
        type='SmallConvNet', in_channels=1, channels=(8, 16, 16, 32), strides=(1, 2, 2, 2)
    )
    torch.save(MODELS.build(backbone).state_dict(), tmp_path / 'pretrained.pth')
    return [f'weights={tmp_path / "pretrained.pth"}', f'store_dir={tmp_path / "features"}']


def test_trains_resumes_is_tested_and_makes_its_table(config, options, call, tmp_path, capsys):
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    # What the tools tell a user: epochs reach the schedule of another's config, too.
    call('train', config, '--work-dir', whole, options=options)
    call('train', config, '--work-dir', parts, options=['epochs=1', *options])
    call('train', config, '--work-dir', parts, '--resume', options=options)
    expected, resumed = (read_state_dict(str(path / 'epoch_2.pth')) for path in (whole, parts))
    assert expected.keys() == resumed.keys()
    assert all(torch.equal(value, resumed[name]) for name, value in expected.items())
    frozen = config.stem == 'softmax_rows'
    before, after = (read_state_dict(str(whole / f'epoch_{i}.pth')) for i in (1, 2))
    for name, value in before.items():
        assert torch.equal(value, after[name]) == (frozen and name.startswith('encoder.')), name

    table = tmp_path / 'clusters.csv'
    call('test', config, whole / 'epoch_2.pth', '--work-dir', whole, '--out', table,
         options=options)  # fmt: skip
    rows = list(csv.DictReader(table.open()))
    assert len(rows) == 360 and {int(row['cluster']) for row in rows} <= set(range(10))
    assert all(0.1 <= float(row['confidence']) <= 1 for row in rows)
    call('eval_kmeans', config, whole / 'epoch_2.pth', '--output', 'probabilities',
         '--cache-dir', tmp_path / 'cache', options=options)  # fmt: skip
    assert 'output probabilities; 360 test images' in capsys.readouterr().out


def test_is_watched(config, options, call, tmp_path):
    """Told to use its clusters unevenly, it puts all images into one."""
    uneven = ['model.evenness=-5.', 'lr=.1', 'epochs=8', *options]
    call('train', config, '--work-dir', tmp_path, options=uneven)
    log = log_of(tmp_path)
    assert 'The training has collapsed:' in log
    assert 'one cluster holds' in log and 'of 10 clusters hold no image since' in log


def test_labels_itself_in_the_wrapper(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(FOLDER)
    import softmax_clusterer  # noqa: F401  (registers it)

    backbone = dict(type='SmallConvNet', in_channels=1, channels=(4, 8), strides=(2, 2))
    clusterer = dict(type='SoftmaxClusterer', num_clusters=10, feat_dim=8, backbone=backbone)
    runner = make_runner(
        tmp_path,
        dict(type='SelfLabel', clusterer=clusterer, loss=dict(type='SelfLabelLoss', threshold=0.1)),
        views=('weak', 'strong'),
        custom_hooks=[dict(type='SelfLabelHook', finetune=True)],
    )
    runner.train()
    assert runner.message_hub.get_scalar('train/confident_share').current() > 0


def test_several_heads_of_it(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    import softmax_clusterer  # noqa: F401

    head = dict(type='SoftmaxClusterer', num_clusters=3, feat_dim=5)
    model = MODELS.build(dict(type='MultiHead', clusterer=head, num_heads=2))
    losses = model([torch.randn(8, 5), torch.randn(8, 5)], mode='loss')
    assert losses['loss_agree'].isfinite() and model.losses.isfinite().all()
