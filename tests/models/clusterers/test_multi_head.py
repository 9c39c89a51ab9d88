import copy

import pytest
import torch
from helpers import run_ranks
from mmpretrain.registry import MODELS

K, D = 3, 5
HEAD = dict(
    type='CDC',
    neck=dict(type='MoCoV2Neck', in_channels=D, hid_channels=8),
    head=dict(type='CDCHead', num_clusters=K, instance_dim=4),
    queue_size=16,
)


def build(num_heads=3, seed=0, **kwargs):
    torch.manual_seed(seed)
    model = MODELS.build(dict(type='MultiHead', clusterer=HEAD, num_heads=num_heads) | kwargs)
    model.init_weights()
    return model


def rows(seed=1):
    torch.manual_seed(seed)
    return [torch.randn(8, D) for _ in range(2)]


def total(losses):
    return sum(value for name, value in losses.items() if 'loss' in name)


def test_losses_are_the_mean_over_heads_that_start_differently():
    model = build()
    heads = copy.deepcopy(model.heads)
    losses = model(rows(), mode='loss')
    apart = [head(rows(), mode='loss') for head in heads]
    assert len({float(result['loss_infonce']) for result in apart}) == 3
    for name in apart[0]:
        mean = sum(result[name] for result in apart) / 3
        torch.testing.assert_close(losses[name], mean)
    torch.testing.assert_close(losses['best_objective'], min(map(total, apart)).detach())
    _, log = model.parse_losses(losses)
    torch.testing.assert_close(log['loss'], sum(map(total, apart)).detach() / 3)


def test_keeps_a_moving_average_of_each_and_predicts_by_the_least():
    model = build()
    heads = copy.deepcopy(model.heads)
    expected = None
    for step in range(3):
        model(rows(step), mode='loss')
        now = torch.stack([total(head(rows(step), mode='loss')).detach() for head in heads])
        expected = now if expected is None else 0.99 * expected + 0.01 * now
    torch.testing.assert_close(model.losses, expected)
    best = int(expected.argmin())
    assert model.best == best
    x = rows()[0]
    assert torch.equal(model.scores(x), model.heads[best].scores(x))
    assert torch.equal(model.embed(x)['zc'], model.heads[best].embed(x)['zc'])
    other = build(seed=5)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.scores(x), model.scores(x))


def test_diagnostics_are_those_of_the_best():
    model = build()
    model(rows(), mode='loss')
    sizes = model.diagnostics()['cluster_sizes']
    assert sizes is model.heads[model.best].head.cluster_sizes and sizes.sum() == 8
    others = [h.head.cluster_sizes for i, h in enumerate(model.heads) if i != model.best]
    assert not any(other.any() for other in others)


def test_a_head_need_not_have_diagnostics(monkeypatch):
    model = build()
    monkeypatch.setattr(type(model.heads[0]), 'diagnostics', lambda self: {})
    assert model.diagnostics() == {}


def test_what_only_training_needs_is_named():
    model = build()
    kept = [n for n in model.state_dict() if not n.startswith(model.training_only)]
    heads = [f'heads.{i}.neck.mlp.{n}' for i in range(3) for n in (
        '0.weight', '0.bias', '2.weight', '2.bias'
    )]  # fmt: skip
    assert kept == ['losses', 'tracked', 'votes', 'orders', *heads]


def test_shares_one_frozen_encoder():
    convnet = dict(type='SmallConvNet', channels=(4, D), strides=(2, 2))
    with pytest.raises(ValueError, match='freeze=True'):
        build(backbone=convnet)
    model = build(backbone=dict(type='Encoder', backbone=convnet, freeze=True))
    calls = []
    model.backbone.register_forward_hook(lambda *_: calls.append(1))
    model([torch.randn(8, 3, 8, 8) for _ in range(2)], mode='loss')
    assert len(calls) == 2
    with pytest.raises(ValueError, match='num_heads must be at least 1, got 0'):
        build(num_heads=0)


def test_a_head_without_a_momentum_encoder_starts_its_own_alone():
    source, target = build(seed=1), build(seed=2)
    with torch.no_grad():
        for head in source.heads:
            head.momentum_encoder.neck.mlp[0].bias.add_(1)
    state = source.state_dict()
    for name in [name for name in state if name.startswith('heads.1.momentum_encoder.')]:
        del state[name]
    target.load_state_dict(state, strict=False)
    for i, head in enumerate(target.heads):
        given = source.heads[i].momentum_encoder if i != 1 else source.heads[1]
        assert torch.equal(head.momentum_encoder.neck.mlp[0].bias, given.neck.mlp[0].bias)


def _rank(rank, world_size):
    model = build()
    model([part.chunk(world_size)[rank] for part in rows()], mode='loss')
    return model.losses


def test_every_rank_chooses_alike():
    one, two = run_ranks(2, _rank)
    assert torch.equal(one, two) and one.isfinite().all()
