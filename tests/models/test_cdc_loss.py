import math

import pytest
import torch
import torch.nn.functional as F
from helpers import run_ranks
from mmpretrain.registry import MODELS

from cdc_mm.models.losses import CDCLoss, cluster_cross_entropy, in_batch_info_nce, info_nce

K, C, B, M = 5, 7, 6, 11


def vectors(n, seed):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(n, K + C, generator=generator, dtype=torch.float64)
    return torch.cat([F.normalize(z[:, :K], dim=1), F.normalize(z[:, K:], dim=1)], dim=1)


@pytest.fixture
def batch():
    return vectors(B, 0), vectors(B, 1), vectors(M, 2)


def test_info_nce_equals_equation_2(batch):
    q, k, negatives = batch
    tau = 0.15
    expected = []
    for i in range(B):
        positive = math.exp(float(q[i] @ k[i]) / tau)
        others = sum(math.exp(float(q[i] @ negative) / tau) for negative in negatives)
        expected.append(-math.log(positive / (others + positive)))
    assert float(info_nce(q, k, negatives, tau)) == pytest.approx(sum(expected) / B, rel=1e-12)


def test_info_nce_equals_the_rewriting_in_equation_3(batch):
    q, k, negatives = batch
    tau = 0.15
    expected = []
    for i in range(B):
        sc_pos, sn_pos = float(q[i, :K] @ k[i, :K]), float(q[i, K:] @ k[i, K:])
        others = sum(
            math.exp((float(q[i, :K] @ n[:K]) - sc_pos) / tau)
            * math.exp(float(q[i, K:] @ n[K:]) / tau)
            for n in negatives
        )
        positive = math.exp(sn_pos / tau)
        expected.append(-math.log(positive / (others + positive)))
    assert float(info_nce(q, k, negatives, tau)) == pytest.approx(sum(expected) / B, rel=1e-12)


def test_gradient_of_a_negative_similarity_equals_equation_8(batch):
    q, k, negatives = batch
    tau, i = 0.15, 2
    # Similarities as independent variables: the query is the unit vector that reads them off, the
    # keys hold them. The last coordinate carries s^n, the others s^c.
    sc = negatives[:, :K] @ q[i, :K]
    sn = (negatives[:, K:] @ q[i, K:]).requires_grad_()
    sc_pos, sn_pos = q[i, :K] @ k[i, :K], q[i, K:] @ k[i, K:]
    reader = torch.ones(1, 2, dtype=torch.float64)
    loss = info_nce(reader, torch.stack([sc_pos, sn_pos])[None], torch.stack([sc, sn], dim=1), tau)
    (gradient,) = torch.autograd.grad(loss, sn)

    weight = torch.exp((sc - sc_pos) / tau)  # lambda^c
    mass = weight * torch.exp(sn.detach() / tau)
    expected = mass / tau / (mass.sum() + torch.exp(sn_pos / tau))
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=0)


def test_info_nce_is_stable_at_small_temperatures():
    q, k, negatives = (x.float() for x in (vectors(B, 0), vectors(B, 1), vectors(M, 2)))
    assert info_nce(q, k, negatives, tau=1e-3).isfinite()


def by_autograd(q, k, negatives, tau):
    """InfoNCE with a gradient of all three, which nothing computes ahead."""
    return info_nce(q, k, negatives.clone().requires_grad_(), tau)


@pytest.mark.parametrize('overwritten', [False, True])
def test_the_gradient_that_is_computed_ahead_is_autograds(batch, overwritten):
    q, k, negatives = batch
    gradients, losses = [], []
    for function in (by_autograd, info_nce):
        own, queue = q.clone().requires_grad_(), negatives.clone()
        loss = function(own, k, queue, 0.15)
        if overwritten and function is info_nce:
            queue.zero_()  # as enqueueing does before backward
        (3 * loss).backward()
        gradients.append(own.grad)
        losses.append(loss.detach())
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-11, atol=1e-13)


def test_losses_are_in_full_precision_under_autocast(batch):
    q, k, negatives = (x.float() for x in batch)
    assignments = torch.softmax(k[:, :K], dim=1)
    for function, args in (
        (info_nce, (k, negatives, 0.15)),
        (by_autograd, (k, negatives, 0.15)),
        (in_batch_info_nce, (k, 0.15)),
        (cluster_cross_entropy, (F.pad(assignments, (0, C)), 0.1)),
    ):
        expected = function(q, *args)
        with torch.autocast('cpu', torch.bfloat16):
            assert (q @ k.T).dtype == torch.bfloat16  # else nothing was tested
            assert function(q, *args) == expected
            assert function(q.bfloat16(), *args).dtype == torch.float32


def test_cluster_cross_entropy_equals_equation_7():
    zc, q = vectors(B, 0)[:, :K], torch.softmax(3 * vectors(B, 1)[:, :K], dim=1)
    t = 0.1
    expected = 0.0
    for i in range(B):
        total = sum(math.exp(float(z) / t) for z in zc[i])
        expected -= sum(
            float(q[i, j]) * math.log(math.exp(float(zc[i, j]) / t) / total) for j in range(K)
        )
    assert float(cluster_cross_entropy(zc, q, t)) == pytest.approx(expected / B, rel=1e-12)


def test_uniform_predictions_cost_ln_k():
    zc = torch.full((B, K), 0.3)
    q = torch.eye(K)[torch.arange(B) % K]
    assert float(cluster_cross_entropy(zc, q, 0.1)) == pytest.approx(math.log(K), rel=1e-6)


def test_in_batch_infonce_is_equation_2_over_the_other_keys(batch):
    q, k, _ = batch
    expected = [
        info_nce(q[i : i + 1], k[i : i + 1], torch.cat([k[:i], k[i + 1 :]]), 0.3)
        for i in range(len(q))
    ]
    torch.testing.assert_close(in_batch_info_nce(q, k, 0.3), torch.stack(expected).mean())


def _rank_in_batch(rank, world_size, q, k):
    rows = slice(rank * len(q) // world_size, (rank + 1) * len(q) // world_size)
    return float(in_batch_info_nce(q[rows], k[rows], 0.3))


def test_in_batch_infonce_is_the_same_on_two_ranks(batch):
    q, k, _ = (x[:8].double() for x in batch)
    ranks = run_ranks(2, _rank_in_batch, q, k)
    assert sum(ranks) / 2 == pytest.approx(float(in_batch_info_nce(q, k, 0.3)), abs=1e-12)


class TestCDCLoss:
    def build(self, **kwargs):
        return MODELS.build(
            dict(type='CDCLoss', num_clusters=K, tau=0.15, t=0.1, alpha=5.0, **kwargs)
        )

    @pytest.mark.parametrize(('swapped', 'source'), [(True, 1), (False, 0)])
    def test_targets_come_from_the_chosen_view(self, batch, swapped, source):
        seen = []

        def assign(zc):
            seen.append(zc)
            return torch.softmax(zc, dim=1)

        q, k, negatives = batch
        q.requires_grad_()
        result = self.build(swapped=swapped)(q, k, negatives, assign)
        assert torch.equal(seen[0], batch[source][:, :K]) and not seen[0].requires_grad
        cluster = cluster_cross_entropy(q[:, :K], torch.softmax(seen[0], 1), 0.1)
        assert result['loss_infonce'] == info_nce(q, k, negatives, 0.15)
        assert result['loss_cluster'] == 5 * cluster

    def test_swapped_is_the_default(self):
        assert self.build().swapped

    def test_clusters_may_be_read_elsewhere(self, batch):
        q, k, negatives = batch
        zc, other = torch.randn(2, len(q), K)
        result = self.build()(q, k, negatives, lambda z: torch.softmax(z, 1), (zc, other))
        expected = cluster_cross_entropy(zc, torch.softmax(other, 1), 0.1)
        assert result['loss_cluster'] == 5 * expected
        assert result['loss_infonce'] == info_nce(q, k, negatives, 0.15)

    def test_without_negatives_it_takes_the_batch(self, batch):
        q, k, _ = batch
        result = self.build()(q, k, None, lambda z: torch.softmax(z, 1))
        assert result['loss_infonce'] == in_batch_info_nce(q, k, 0.15)

    def test_without_infonce_only_the_cross_entropy_trains(self, batch):
        q, k, negatives = batch
        q.requires_grad_()
        result = self.build(infonce_weight=0.0)(q, k, negatives, lambda z: torch.softmax(z, 1))
        assert result['loss_infonce'] == 0
        (result['loss_infonce'] + result['loss_cluster']).backward()
        assert q.grad[:, :K].any() and not q.grad[:, K:].any()

    @pytest.mark.parametrize(('name', 'value'), [('tau', 0.0), ('t', -0.1), ('alpha', -1.0)])
    def test_refuses_values_out_of_range(self, name, value):
        values = dict(tau=0.1, t=0.1, alpha=1.0) | {name: value}
        with pytest.raises(ValueError, match=name):
            CDCLoss(num_clusters=K, **values)
