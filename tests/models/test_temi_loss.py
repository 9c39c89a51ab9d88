import math

import pytest
import torch
from helpers import run_ranks

from cdc_mm.models.losses import temi_loss

B, K, H = 7, 4, 3


def softmax(row):
    e = [math.exp(x) for x in row]
    return [x / sum(e) for x in e]


def reference(student, teacher, prior, beta):
    """Equations 6 to 9 of TEMI, one pair of one head at a time."""
    p = [[[softmax(row) for row in head] for head in view.tolist()] for view in student]
    t = [[[softmax(row) for row in head] for head in view.tolist()] for view in teacher]
    losses = []
    for h in range(H):
        total = 0
        for b in range(B):
            weight = sum(sum(t[0][i][b][c] * t[1][i][b][c] for c in range(K)) for i in range(H)) / H
            pmi = 0
            for own, other in ((0, 1), (1, 0)):
                shared = [(p[own][h][b][c] * t[other][h][b][c]) ** beta for c in range(K)]
                pmi += math.log(sum(s / q for s, q in zip(shared, prior[h].tolist()))) / 2
            total -= weight * pmi / B
        losses.append(total)
    return losses


@pytest.fixture
def scores():
    torch.manual_seed(0)
    student = list(torch.randn(2, H, B, K, dtype=torch.float64) * 3)
    teacher = list(torch.randn(2, H, B, K, dtype=torch.float64) * 3)
    return student, teacher, torch.rand(H, K, dtype=torch.float64) + 0.1


@pytest.mark.parametrize('beta', [0.6, 1.0])
def test_equals_the_papers_equations(scores, beta):
    assert temi_loss(*scores, beta).tolist() == pytest.approx(reference(*scores, beta), rel=1e-10)


def test_only_students_get_a_gradient(scores):
    student, teacher, prior = scores
    views = [view.requires_grad_() for view in (*student, *teacher)]
    temi_loss(student, teacher, prior, 0.6).sum().backward()
    assert all(view.grad.abs().sum() > 0 for view in student)
    assert all(view.grad is None for view in views[2:])
    torch.autograd.gradcheck(lambda *x: temi_loss(x, teacher, prior, 0.6), student)


def test_is_finite_for_sure_predictions_that_differ():
    one, other = torch.tensor([[[500.0, 0.0]]]), torch.tensor([[[0.0, 500.0]]])
    found = temi_loss((one, other), (one, other), torch.full((1, 2), 0.5), 0.6)
    assert found.isfinite().all()


def _gradient(rank, world_size, student, teacher, prior):
    own = [[view.chunk(world_size, dim=1)[rank].clone() for view in pair]
           for pair in (student, teacher)]  # fmt: skip
    for view in own[0]:
        view.requires_grad_()
    losses = temi_loss(*own, prior, 0.6)
    losses.sum().backward()
    return losses.detach(), [view.grad / world_size for view in own[0]]


def test_ranks_get_the_gradient_of_one_process(scores):
    student, teacher, prior = scores
    student, teacher = ([view[:, :6] for view in pair] for pair in (student, teacher))
    losses, gradients = _gradient(0, 1, student, teacher, prior)
    found = run_ranks(2, _gradient, student, teacher, prior)
    torch.testing.assert_close(sum(part for part, _ in found) / 2, losses)
    for i, gradient in enumerate(gradients):
        torch.testing.assert_close(torch.cat([parts[i] for _, parts in found], dim=1), gradient)
