import numpy as np
import pytest
import torch
from helpers import run_ranks
from mmpretrain.registry import MODELS

from cdc_mm.models.layers import Standardize

K, D, H = 3, 6, 4


def build(**kwargs):
    torch.manual_seed(0)
    model = MODELS.build(dict(type='SCAN', num_clusters=K, in_channels=D, num_heads=H) | kwargs)
    model.init_weights()
    return model


def batch(seed=1, count=20):
    torch.manual_seed(seed)
    return dict(view1=5 + 3 * torch.randn(count, D), neighbor=5 + 3 * torch.randn(count, D))


def test_heads_are_apart_and_the_best_predicts():
    model = build()
    losses = model(batch(), mode='loss')
    rows = batch(2)['view1']
    scores = model.head_scores(rows)
    assert scores.shape == (H, 20, K)
    plain = (rows - model.standardize.mean) / (model.standardize.variance.sqrt() + 1e-6)
    for head in range(H):
        part = slice(head * K, (head + 1) * K)
        expected = plain @ model.head.weight[part].T + model.head.bias[part]
        torch.testing.assert_close(scores[head], expected)
    assert losses['best_objective'] == model.losses.min()
    torch.testing.assert_close(model.scores(rows), scores[model.losses.argmin()])
    assert losses['loss_neighbor'].ndim == 0


def test_a_step_lowers_the_loss_of_every_head():
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    first = None
    for _ in range(30):
        losses = model(batch(), mode='loss')
        optimizer.zero_grad()
        (losses['loss_neighbor'] + losses['loss_entropy']).backward()
        optimizer.step()
        scores = model.head_scores(torch.cat(list(batch().values()))).chunk(2, dim=1)
        totals = sum(model.loss_module(*scores).values()).detach()
        first = totals if first is None else first
    assert (totals < first).all()


def test_the_latest_losses_count():
    model = build()
    first = torch.arange(H) + 1.0
    assert model.track(first) == 1
    assert torch.equal(model.losses, first)
    for _ in range(2000):
        least = model.track(-first)
    torch.testing.assert_close(model.losses, -first, rtol=1e-3, atol=1e-3)
    assert least == model.losses[-1] and model.best == H - 1


def test_votes_are_averaged_in_the_common_order():
    model = build()
    model(batch(), mode='loss')
    rows = batch(3)['view1']
    orders = torch.tensor([[2, 0, 1], [0, 2, 1]])
    p = model.head_scores(rows).softmax(dim=2)
    model.vote(torch.tensor([3, 1]), orders)
    expected = (p[3][:, orders[0]] + p[1][:, orders[1]]) / 2
    torch.testing.assert_close(model.scores(rows).softmax(dim=1), expected)
    labels = torch.stack([p[1][:, orders[1]].argmax(1), p[3][:, orders[0]].argmax(1)], dim=1)
    assert (model.head_labels(rows) == labels).all()
    again = build()
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again.scores(rows), model.scores(rows))


def test_standardize_equals_all_rows_at_once():
    layer = Standardize(D)
    rows = [1e4 + 10 * torch.randn(n, D) for n in (7, 50, 1)]
    for part in rows:
        layer.update(part)
    together = torch.cat(rows).double()
    np.testing.assert_allclose(layer.mean, together.mean(0), rtol=1e-6)
    np.testing.assert_allclose(layer.variance, together.var(0, correction=0), rtol=1e-3)
    out = layer(torch.cat(rows))
    torch.testing.assert_close(out.mean(0), torch.zeros(D), atol=1e-3, rtol=0)
    torch.testing.assert_close(out.std(0, correction=0), torch.ones(D), atol=1e-3, rtol=0)


def test_standardize_of_a_constant_channel_is_finite():
    layer = Standardize(1)
    layer.update(torch.full((5, 1), 3.0))
    assert layer(torch.full((2, 1), 3.0)).abs().max() == 0


def _train(rank, world_size, views):
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for view in views:
        own = {name: rows.chunk(world_size)[rank] for name, rows in view.items()}
        losses = model(own, mode='loss')
        optimizer.zero_grad()
        (losses['loss_neighbor'] + losses['loss_entropy']).backward()
        for parameter in model.parameters():
            if world_size > 1:
                torch.distributed.all_reduce(parameter.grad)
                parameter.grad /= world_size
        optimizer.step()
    return model.state_dict()


def test_ranks_train_as_one_process():
    views = [batch(seed) for seed in range(4)]
    alone = _train(0, 1, views)
    for found in run_ranks(2, _train, views):
        for name, value in alone.items():
            torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-4)


def test_refuses_what_it_cannot_be():
    with pytest.raises(ValueError, match='SCAN needs in_channels'):
        build(in_channels=None)
    with pytest.raises(ValueError, match='num_heads must be at least 1, got 0'):
        build(num_heads=0)
