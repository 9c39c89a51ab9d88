import math

import pytest
import torch
from mmpretrain.registry import MODELS

K, C, B = 4, 6, 12


def build(**kwargs):
    return MODELS.build(dict(type='CDCHead', num_clusters=K, instance_dim=C) | kwargs)


def test_normalises_the_parts_apart():
    z = 3 * torch.randn(B, K + C)
    out = build().normalize(z)
    torch.testing.assert_close(out[:, :K], z[:, :K] / z[:, :K].norm(dim=1, keepdim=True))
    torch.testing.assert_close(out[:, K:], z[:, K:] / z[:, K:].norm(dim=1, keepdim=True))
    torch.testing.assert_close(out.norm(dim=1), torch.full((B,), math.sqrt(2)))


def test_normalises_half_precision_in_float32():
    assert build().normalize(torch.randn(B, K + C).half()).dtype == torch.float32
    assert build().normalize(torch.randn(B, K + C).double()).dtype == torch.float64


def test_scores_are_normalised_zc_over_t():
    z, head = torch.randn(B, K + C), build(t=0.3)
    zc = z[:, :K] / z[:, :K].norm(dim=1, keepdim=True)
    torch.testing.assert_close(head.scores(z), zc / 0.3)


def test_loss_is_the_mean_over_directions_and_reports_assignments():
    head = build()
    z = [head.normalize(torch.randn(B, K + C)) for _ in range(4)]
    negatives = head.normalize(torch.randn(20, K + C))
    one = head.loss([(z[0], z[1])], negatives)
    two = head.loss([(z[2], z[3])], negatives)
    both = head.loss([(z[0], z[1]), (z[2], z[3])], negatives)
    for name in ('loss_infonce', 'loss_cluster', 'assign_entropy'):
        torch.testing.assert_close(both[name], (one[name] + two[name]) / 2)
    sizes = torch.bincount(torch.cat([z[0], z[2]])[:, :K].argmax(1), minlength=K)
    assert float(both['largest_share']) == pytest.approx(float(sizes.max()) / (2 * B))
    zn = torch.cat([z[0], z[2]])[:, K:]
    spread = zn.var(dim=0, unbiased=False).sum().sqrt()
    torch.testing.assert_close(both['zn_std'], spread)
    assert set(both) == {
        'loss_infonce',
        'loss_cluster',
        'assign_entropy',
        'largest_share',
        'zn_std',
    }


def test_counts_predictions_until_somebody_looks():
    head = build()
    z = [head.normalize(torch.randn(B, K + C)) for _ in range(2)]
    for _ in range(2):
        head.loss([(z[0], z[1]), (z[1], z[0])], z[0])
    sizes = torch.bincount(torch.cat(z)[:, :K].argmax(1), minlength=K)
    assert torch.equal(head.cluster_sizes, 2.0 * sizes)
    assert not any('cluster_sizes' in name for name in head.state_dict())


def test_assign_entropy_is_one_for_uniform_assignments():
    head = build()
    same = head.normalize(torch.ones(B, K + C))
    assert float(head.loss([(same, same)], same)['assign_entropy']) == pytest.approx(1, abs=1e-5)


def test_values_reach_the_loss_and_settings_override():
    head = build(
        tau=0.4,
        t=0.2,
        alpha=1.0,
        loss=dict(type='CDCLoss', swapped=False),
        assigner=dict(type='SinkhornAssigner', epsilon=0.01),
    )
    loss = head.loss_module
    assert (loss.tau, loss.t, loss.alpha, loss.swapped) == (0.4, 0.2, 1.0, False)
    assert head.assigner.epsilon == 0.01


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(num_clusters=1), 'num_clusters must be at least 2'),
        (dict(instance_dim=0), 'instance_dim must be at least 1'),
        (dict(t=0), 't is a temperature'),
        (dict(num_cluster=3), 'num_cluster'),
    ],
)
def test_refuses_bad_settings(kwargs, message):
    with pytest.raises((ValueError, TypeError), match=message):
        build(**kwargs)
