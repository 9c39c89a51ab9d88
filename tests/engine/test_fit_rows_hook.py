import numpy as np
import pytest
import torch
from helpers import DIGITS_ENCODER, make_scan, run_ranks
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from cdc_mm.checkpoints import read_state_dict
from cdc_mm.engine.hooks import fit_rows_hook
from cdc_mm.errors import RunError

HOOK = dict(type='FitRowsHook')


def make_pca(folder, name='work', hooks=(HOOK,), **kwargs):
    encoder = dict(DIGITS_ENCODER, weights=str(folder / 'encoder.pth'))
    model = dict(type='SCAN', num_clusters=10, num_heads=3, num_components=4, backbone=encoder)
    return make_scan(folder, name=name, model=model, custom_hooks=list(hooks), **kwargs)


def test_components_are_those_of_the_training_rows(tmp_path):
    runner = make_pca(tmp_path)
    runner.train()
    first, last = (read_state_dict(str(tmp_path / f'work/epoch_{i}.pth')) for i in (1, 2))
    for name in ('weight', 'bias'):  # training leaves them alone
        assert torch.equal(first[f'standardize.{name}'], last[f'standardize.{name}'])
    rows = np.array(runner.train_dataloader.dataset.rows[:], np.float64)
    expected = PCA(4, svd_solver='full').fit_transform(StandardScaler().fit_transform(rows))
    expected /= np.sqrt(np.square(expected).mean())
    found = runner.model.standardize.cpu()(torch.tensor(rows, dtype=torch.float32)).numpy()
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found, signs * expected, atol=2e-4)


def test_a_resumed_training_keeps_its_components(tmp_path, monkeypatch):
    whole = make_pca(tmp_path)
    whole.train()
    part = make_pca(tmp_path, name='part', epochs=1)
    part.train()
    monkeypatch.setattr(
        fit_rows_hook, 'look_at_training_rows', lambda *_: pytest.fail('it looked again')
    )
    again = make_pca(tmp_path, name='part', resume=True)
    again.train()
    assert torch.equal(again.model.standardize.weight, part.model.standardize.weight)


def test_looks_at_evenly_spaced_images_of_very_many(tmp_path, monkeypatch):
    monkeypatch.setattr(fit_rows_hook, '_MAX_ROWS', 500)
    runner = make_pca(tmp_path, epochs=1)
    seen = []
    monkeypatch.setattr(runner.model, 'fit_rows', seen.append)
    with pytest.raises(RuntimeError, match='add dict\\(type="FitRowsHook"\\) to custom_hooks'):
        runner.train()
    np.testing.assert_array_equal(seen[0], runner.train_dataloader.dataset.rows[::3])


def test_rows_that_are_all_alike_are_refused(tmp_path):
    runner = make_pca(tmp_path, epochs=1)
    runner.model.fit_rows = lambda rows: type(runner.model).fit_rows(
        runner.model, np.ones_like(rows)
    )
    with pytest.raises(RunError, match='the rows of the training images: all rows are alike'):
        runner.train()


def _rank_main(rank, world_size, folder):
    runner = make_pca(folder, name=f'ranks{world_size}', epochs=1)
    runner.train()
    return runner.model.standardize.weight.clone()


def test_ranks_get_what_one_process_finds(tmp_path):
    one = make_pca(tmp_path, name='one', epochs=1)
    one.train()
    for weight in run_ranks(2, _rank_main, tmp_path):
        assert torch.equal(weight, one.model.standardize.weight)


def _communities_main(rank, world_size, folder):
    encoder = dict(DIGITS_ENCODER, weights=str(folder / 'encoder.pth'))
    model = dict(
        type='CommunitySCAN', num_clusters=10, num_heads=2, num_community_heads=2,
        num_components=4, backbone=encoder,
    )  # fmt: skip
    runner = make_scan(
        folder, name='ranks', model=model, custom_hooks=[HOOK, dict(type='ConsensusHook')], epochs=1
    )
    runner.train()
    return runner.model.head.weight[20:].detach().clone()


def test_ranks_have_the_same_heads_of_communities(tmp_path):
    one, other = run_ranks(2, _communities_main, tmp_path)
    assert torch.equal(one, other)


def test_the_hook_leaves_other_clusterers_alone(tmp_path):
    runner = make_scan(tmp_path, epochs=1, custom_hooks=[HOOK])
    runner.train()
    assert runner.model.standardize.count > 0
