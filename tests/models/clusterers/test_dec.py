import math

import numpy as np
import pytest
import torch

from cdc_mm.models import DEC
from cdc_mm.models.losses import student_t_scores, target_distribution

D, K, N = 6, 3, 10


def build(**kwargs):
    torch.manual_seed(0)
    options = dict(num_clusters=K, in_channels=D, widths=(5, 4), code_dim=2)
    model = DEC(**{**options, **kwargs})
    model.centers.data.normal_()
    model.prepare(N)
    return model


@pytest.fixture
def points():
    torch.manual_seed(0)
    return torch.randn(N, 2, dtype=torch.float64), torch.randn(K, 2, dtype=torch.float64)


def soft_clusters(points, centers):
    """Equation 1 of DEC, one point at a time."""
    table = []
    for z in points.tolist():
        row = [1 / (1 + math.dist(z, m) ** 2) for m in centers.tolist()]
        table.append([value / sum(row) for value in row])
    return table


def targets_of(q):
    """Equation 3 of DEC."""
    f = [sum(row[j] for row in q) for j in range(K)]
    table = []
    for row in q:
        row = [value**2 / share for value, share in zip(row, f)]
        table.append([value / sum(row) for value in row])
    return table


def test_clusters_and_targets_are_the_papers(points):
    q = student_t_scores(*points).softmax(dim=1)
    np.testing.assert_allclose(q, soft_clusters(*points), rtol=1e-10)
    np.testing.assert_allclose(target_distribution(q), targets_of(q.tolist()), rtol=1e-10)


def test_the_gradient_is_the_papers(points):
    """Equations 4 and 5 of DEC, of the sum over the points; alpha = 1."""
    z, m = (part.clone().requires_grad_() for part in points)
    log_q = student_t_scores(z, m).log_softmax(dim=1)
    p = target_distribution(log_q.detach().exp())
    torch.nn.functional.kl_div(log_q, p, reduction='sum').backward()
    difference = points[0][:, None] - points[1]
    pull = 2 * (p - log_q.exp()).detach() / (1 + difference.square().sum(dim=2))
    torch.testing.assert_close(z.grad, (pull[..., None] * difference).sum(dim=1))
    torch.testing.assert_close(m.grad, -(pull[..., None] * difference).sum(dim=0))


@pytest.mark.parametrize('gamma', [None, 0.1])
def test_the_losses_are_the_papers(gamma):
    model = build(gamma=gamma).double()
    rows = torch.randn(N, D, dtype=torch.float64)
    model.fit_rows(rows.numpy())
    scaled = rows / rows.square().mean().sqrt()
    codes = model.coder(scaled)
    error = (model.decoder(codes) - scaled).square().mean()
    batch = dict(view1=rows, sample_idx=torch.arange(N))
    torch.testing.assert_close(model.loss(batch), dict(loss_reconstruction=error))
    model.pretraining = False
    q = soft_clusters(codes.detach(), model.centers.detach())
    p = targets_of(q)
    model.soft_targets.copy_(torch.tensor(p, dtype=torch.float64))
    order = torch.arange(N).flip(0)
    losses = model.loss(dict(view1=rows[order], sample_idx=order))
    divergence = sum(p[i][j] * math.log(p[i][j] / q[i][j]) for i in range(N) for j in range(K)) / N
    assert losses['loss_cluster'].item() == pytest.approx((gamma or 1) * divergence, rel=1e-4)
    assert ('loss_reconstruction' in losses) == (gamma is not None)
    np.testing.assert_allclose(model.scores(rows).softmax(dim=1).detach(), q, rtol=1e-4)


def test_images_are_their_pixels():
    model = build(in_channels=12)
    images = torch.randn(4, 3, 2, 2)
    torch.testing.assert_close(model.encode(images), images.reshape(4, 12))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(in_channels=None), 'DEC needs in_channels'),
        (dict(code_dim=0), 'code_dim must be at least 1, got 0'),
        (dict(gamma=0), 'gamma must be above 0, or None for DEC, got 0'),
    ],
)
def test_refuses_what_it_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_rows_of_zeros_are_refused():
    with pytest.raises(ValueError, match='all values are 0'):
        build().fit_rows(np.zeros((3, D), np.float32))
