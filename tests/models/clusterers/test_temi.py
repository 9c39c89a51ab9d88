import numpy as np
import pytest
import torch
from helpers import run_ranks

from cdc_mm.models import TEMI
from cdc_mm.models.clusterers.temi import TEMIHeads

D, K, H = 6, 3, 4


def build(**kwargs):
    torch.manual_seed(0)
    model = TEMI(**{**dict(num_clusters=K, in_channels=D, num_heads=H), **kwargs})
    model.teacher.copy_from(model)
    return model


def batch(seed=0, count=8):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(2, count, D, generator=generator)
    return dict(view1=rows[0], neighbor=rows[1])


def test_heads_are_those_of_plain_layers():
    torch.manual_seed(0)
    heads = TEMIHeads(D, K, H, hidden_channels=5, out_channels=4)
    heads.lengths.data.uniform_(0.5, 2)
    rows = torch.randn(7, D)
    for h, scores in enumerate(heads(rows)):
        first, last = torch.nn.Linear(D, 5), torch.nn.Linear(4, K, bias=False)
        first.weight.data, first.bias.data = (
            part[5 * h : 5 * h + 5] for part in (heads.hidden.weight.data, heads.hidden.bias.data)
        )
        torch.nn.utils.parametrizations.weight_norm(last)
        last.parametrizations.weight.original0.data = heads.lengths.data[h]
        last.parametrizations.weight.original1.data = heads.directions.data[h]
        out = torch.nn.functional.gelu(first(rows)) @ heads.weight[h] + heads.bias[h]
        torch.testing.assert_close(scores, last(out / out.norm(dim=1, keepdim=True)))


def test_the_teacher_predicts_and_follows():
    model = build(momentum=0.9)
    with torch.no_grad():
        model.student.bias += 1
    before = model.teacher.student.bias.clone()
    losses = model(batch(), mode='loss')
    torch.testing.assert_close(model.teacher.student.bias, before.lerp(model.student.bias, 0.1))
    assert not any(p.requires_grad for p in model.teacher.parameters())
    rows = batch(3)['view1']
    expected = model.teacher.student(model.standardize(rows)) / 0.1
    torch.testing.assert_close(model.scores(rows), expected[model.losses.argmin()])
    assert losses['best_objective'] == model.losses.min()


def test_the_prior_is_a_moving_average_of_the_teachers():
    model = build()
    model(batch(), mode='loss')
    rows = torch.cat(list(batch().values()))
    p = model.head_scores(rows).softmax(dim=2).double().numpy()
    np.testing.assert_allclose(model.prior, 0.9 / K + 0.1 * p.mean(axis=1), rtol=1e-5)


def test_training_separates_what_differs():
    model = build(momentum=0.9, in_channels=2, num_clusters=2)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    groups = torch.tensor([0, 1] * 16)
    for step in range(60):
        noise = torch.randn(2, 32, 2, generator=torch.Generator().manual_seed(step))
        view, neighbor = 0.1 * noise + torch.stack([groups, -groups], dim=1)
        losses = model(dict(view1=view, neighbor=neighbor), mode='loss')
        optimizer.zero_grad()
        losses['loss_temi'].backward()
        optimizer.step()
    found = model.scores(view).argmax(dim=1)
    assert (found == groups).all() or (found != groups).all()


def _train(rank, world_size, views):
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for view in views:
        own = {name: rows.chunk(world_size)[rank] for name, rows in view.items()}
        loss = model(own, mode='loss')['loss_temi']
        optimizer.zero_grad()
        loss.backward()
        for parameter in model.student.parameters():
            if world_size > 1:
                torch.distributed.all_reduce(parameter.grad)
                parameter.grad /= world_size
        optimizer.step()
    return model.state_dict()


def test_ranks_train_as_one_process():
    views = [batch(seed) for seed in range(3)]
    alone = _train(0, 1, views)
    for found in run_ranks(2, _train, views):
        for name, value in alone.items():
            torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(in_channels=None), 'TEMI needs in_channels'),
        (dict(beta=0), 'beta must be above 0 and at most 1, got 0'),
        (dict(temperature=0), 'temperature must be above 0, got 0'),
        (dict(momentum=2), 'momentum must be between 0 and 1, got 2'),
    ],
)
def test_refuses_what_it_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)
