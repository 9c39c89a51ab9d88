import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import run_ranks

from cdc_mm.models.losses import SwappedPredictionLoss


def unit_rows(count, width=8):
    return F.normalize(torch.randn(count, width, dtype=torch.float64), dim=1)


def swav(rows, prototypes, temperature, epsilon, iterations):
    """SwAV's equations 1 to 4 and its appendix A, image by image."""
    prototypes = prototypes / np.linalg.norm(prototypes, axis=1, keepdims=True)
    scores = np.split(rows @ prototypes.T, 2)
    images = len(scores[0])
    codes = []
    for view in scores:
        q = np.exp(view / epsilon).T
        for _ in range(iterations):
            q /= q.sum(axis=1, keepdims=True) * len(q)
            q /= q.sum(axis=0, keepdims=True) * images
        codes.append(q * images)
    loss = 0
    for i in range(images):
        for target, predicted in ((0, 1), (1, 0)):
            p = np.exp(scores[predicted][i] / temperature)
            loss -= codes[target][:, i] @ np.log(p / p.sum())
    return loss / (2 * images)


@pytest.mark.parametrize('settings', [(0.1, 0.05, 3), (0.3, 0.2, 1)])
def test_equals_the_equation_in_float64(settings):
    loss = SwappedPredictionLoss(8, 6, *settings).double()
    with torch.no_grad():
        loss.prototypes.weight.mul_(torch.arange(1, 7)[:, None])  # of any norm
    rows, before = unit_rows(40), loss.prototypes.weight.detach().numpy().copy()
    expected = swav(rows.numpy(), before, *settings)
    assert loss(rows).item() == pytest.approx(expected, rel=1e-12)
    norms = loss.prototypes.weight.norm(dim=1)
    torch.testing.assert_close(norms, torch.ones_like(norms))


def part(rank, world_size, rows, weight):
    """Loss and gradients of a rank's images, by the means that data parallel training takes."""
    loss = SwappedPredictionLoss(8, 6).double()
    loss.prototypes.weight.data.copy_(weight)
    views = [view.chunk(world_size)[rank] for view in rows.chunk(2)]
    own = torch.cat(views).requires_grad_()
    value = loss(own)
    value.backward()
    return value.detach(), own.grad / world_size, loss.prototypes.weight.grad


def test_two_ranks_equal_one_process():
    rows, weight = unit_rows(32), torch.randn(6, 8, dtype=torch.float64)
    whole, gradient, of_prototypes = part(0, 1, rows, weight)
    ranks = run_ranks(2, part, rows, weight)
    means = [sum(x) / 2 for x in zip(*[(value, w) for value, _, w in ranks])]
    torch.testing.assert_close(means[0], whole, rtol=1e-12, atol=0)
    torch.testing.assert_close(means[1], of_prototypes, rtol=0, atol=1e-12)
    views = [torch.cat(x) for x in zip(*[grad.chunk(2) for _, grad, _ in ranks])]
    torch.testing.assert_close(torch.cat(views), gradient, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(num_prototypes=1), 'num_prototypes must be at least 2'),
        (dict(iterations=0), 'iterations must be at least 1'),
        (dict(temperature=0), 'temperature must be above 0'),
        (dict(epsilon=0), 'epsilon must be above 0'),
    ],
)
def test_refuses_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SwappedPredictionLoss(**{'feat_dim': 8, 'num_prototypes': 6, **kwargs})


def test_refuses_a_batch_that_cannot_be_spread():
    with pytest.raises(ValueError, match='5 images a step cannot be spread over num_prototypes=6'):
        SwappedPredictionLoss(8, 6)(torch.randn(10, 8))
