import numpy as np
import pytest
import torch
from helpers import TINY_CDC, make_runner, make_scan, run_ranks
from mmpretrain.registry import HOOKS

from cdc_mm.checkpoints import read_state_dict
from cdc_mm.engine.hooks import consensus_hook
from cdc_mm.evaluation.functional import consensus

HOOK = dict(type='ConsensusHook', share=0.5, restarts=2)


def make(folder, **kwargs):
    return make_scan(folder, **dict(dict(custom_hooks=[HOOK]), **kwargs))


def test_the_heads_of_least_loss_vote_after_the_last_epoch(tmp_path):
    runner = make(tmp_path)
    runner.train()
    first, last = (read_state_dict(str(tmp_path / f'work/epoch_{i}.pth')) for i in (1, 2))
    assert not first['votes'].any()
    model = runner.model
    assert last['votes'].nonzero().flatten().tolist() == sorted(
        last['losses'].argsort()[:3].tolist()
    )
    # What the hook found, worked out again from all training rows.
    dataset = runner.train_dataloader.dataset
    heads = last['losses'].argsort()[:3]
    with torch.no_grad():
        rows = torch.from_numpy(np.array(dataset._rows))
        probabilities = model.eval().head_scores(rows)[heads].softmax(dim=2).numpy()
    _, orders = consensus(probabilities, restarts=2, seed=0)
    np.testing.assert_array_equal(last['orders'][heads], orders)
    # The test is of the consensus, and the checkpoint predicts by it.
    again = make(tmp_path, name='again', epochs=2)
    again.load_checkpoint(str(tmp_path / 'work/epoch_2.pth'))
    metrics = again.test()
    scalars = runner.message_hub.log_scalars
    assert metrics['clustering/acc'] == pytest.approx(scalars['val/clustering/acc'].current())


def test_looks_at_evenly_spaced_images_of_very_many(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(consensus_hook, '_MAX_VALUES', 500 * 3 * 10)
    monkeypatch.setattr(
        consensus_hook, 'consensus', lambda p, *args: seen.append(p) or consensus(p, *args)
    )
    make(tmp_path, epochs=1).train()
    assert seen[0].shape == (3, 479, 10)  # every third of 1,437


def _rank_main(rank, world_size, folder):
    runner = make(folder, name=f'ranks{world_size}', epochs=1)
    runner.train()
    return [getattr(runner.model, name).clone() for name in ('losses', 'votes', 'orders')]


def test_ranks_get_the_same(tmp_path):
    make(tmp_path, name='store', epochs=1)
    first, second = run_ranks(2, _rank_main, tmp_path)
    assert first[1].sum() == 3
    assert all(torch.equal(*pair) for pair in zip(first, second))


def test_refusals(tmp_path):
    for kwargs, message in (
        (dict(share=0), 'share must be above 0 and at most 1, got 0'),
        (dict(share=1.5), 'share must be above 0 and at most 1, got 1.5'),
        (dict(restarts=0), 'restarts must be at least 1, got 0'),
    ):
        with pytest.raises(ValueError, match=message):
            HOOKS.build(dict(type='ConsensusHook', **kwargs))
    with pytest.raises(ValueError, match='CDC has no heads that could agree'):
        make_runner(tmp_path, TINY_CDC, custom_hooks=[HOOK]).train()
    loops = {'train_cfg': dict(_delete_=True, type='IterBasedTrainLoop', max_iters=2)}
    with pytest.raises(ValueError, match='counts in epochs'):
        make(tmp_path, **loops).train()
