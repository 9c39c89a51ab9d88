import pytest
import torch
from helpers import run_ranks
from torch import nn

from cdc_mm.models import TURTLE
from cdc_mm.models.clusterers.turtle import train_classifier

D, K, B = 5, 3, 8


def build(**kwargs):
    torch.manual_seed(0)
    return TURTLE(**{**dict(num_clusters=K, in_channels=D), **kwargs})


def rows_of(seed=0, count=B):
    return torch.randn(count, D, generator=torch.Generator().manual_seed(seed))


def test_the_classifier_is_trained_as_by_autograd():
    torch.manual_seed(0)
    rows, labels = rows_of(), torch.randn(B, K).softmax(dim=1)
    layer = nn.Linear(D, K)
    weight, bias = train_classifier(rows, labels, layer.weight, layer.bias, 10, 0.1)
    optimizer = torch.optim.Adam(layer.parameters(), 0.1)
    for _ in range(10):
        loss = nn.functional.cross_entropy(layer(rows), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(weight, layer.weight.data)
    torch.testing.assert_close(bias, layer.bias.data)


def test_the_loss_is_the_papers():
    """Equation 12 written out, its gradient by the labels alone (section 3.2)."""
    model = build(entropy_weight=2.0, inner_steps=4, inner_lr=0.1)
    rows = rows_of()
    torch.manual_seed(1)
    losses = model(dict(view1=rows), mode='loss')
    sum(losses.values()).backward()
    found = [p.grad.clone() for p in model.task.parameters()]

    torch.manual_seed(1)
    learner = nn.Linear(D, K)
    plain = (rows - rows.mean(0)) / (rows.std(0, correction=0) + 1e-6)
    model.zero_grad()
    labels = model.task(plain).softmax(dim=1)
    optimizer = torch.optim.Adam(learner.parameters(), 0.1)
    for _ in range(4):
        optimizer.zero_grad()
        nn.functional.cross_entropy(learner(plain), labels.detach()).backward()
        optimizer.step()
    error = -sum(labels[i] @ learner(plain[i]).detach().log_softmax(dim=0) for i in range(B)) / B
    mean = sum(labels) / B
    entropy = -sum(m * m.log() for m in mean)
    torch.testing.assert_close(losses['loss_classifier'], error)
    torch.testing.assert_close(losses['loss_entropy'], -2 * entropy)
    (error - 2 * entropy).backward()
    for gradient, parameter in zip(found, model.task.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-4, atol=1e-6)


def test_prediction_is_the_task_encoders():
    model = build()
    model(dict(view1=rows_of()), mode='loss')
    rows = rows_of(3)
    weight = model.task.parametrizations.weight
    weight = weight.original0 * weight.original1 / weight.original1.norm(dim=1, keepdim=True)
    plain = model.standardize(rows)
    torch.testing.assert_close(model.scores(rows), plain @ weight.T + model.task.bias)


def test_training_separates_what_differs():
    model = build(num_clusters=2, in_channels=2, inner_lr=0.1)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    groups = torch.tensor([0, 1] * 16)
    for step in range(100):
        noise = torch.randn(32, 2, generator=torch.Generator().manual_seed(step))
        view = 0.1 * noise + torch.stack([groups, -groups], dim=1)
        losses = model(dict(view1=view), mode='loss')
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    found = model.scores(view).argmax(dim=1)
    assert (found == groups).all() or (found != groups).all()


def _train(rank, world_size, views):
    model = build(inner_lr=0.1)
    # Of rank 0 alone the start of the classifier counts.
    torch.manual_seed(rank)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for view in views:
        losses = model(dict(view1=view.chunk(world_size)[rank]), mode='loss')
        optimizer.zero_grad()
        sum(losses.values()).backward()
        for parameter in model.parameters():
            if world_size > 1:
                torch.distributed.all_reduce(parameter.grad)
                parameter.grad /= world_size
        optimizer.step()
    return model.state_dict()


def test_ranks_train_as_one_process():
    views = [rows_of(seed) for seed in range(3)]
    alone = _train(0, 1, views)
    for found in run_ranks(2, _train, views):
        for name, value in alone.items():
            torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(in_channels=None), 'TURTLE needs in_channels'),
        (dict(inner_steps=0), 'inner_steps must be at least 1, got 0'),
        (dict(inner_lr=0), 'inner_lr must be above 0, got 0'),
        (dict(entropy_weight=-1), 'entropy_weight must not be negative, got -1'),
    ],
)
def test_refuses_what_it_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)
