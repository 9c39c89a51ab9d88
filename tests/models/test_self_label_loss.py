import math

import pytest
import torch
import torch.nn.functional as F
from helpers import run_ranks
from mmpretrain.registry import MODELS
from scipy.optimize import minimize

from cdc_mm.models.losses import max_confidence, self_label_cross_entropy
from cdc_mm.models.utils import PseudoLabels

K, B, T = 4, 24, 0.2


@pytest.mark.parametrize(('k', 't'), [(3, 0.3), (6, 0.25), (10, 0.5)])
def test_max_confidence_is_the_maximum_over_unit_vectors(k, t):
    def negative(z):
        z = torch.tensor(z)
        return -float(torch.softmax(F.normalize(z, dim=0) / t, dim=0)[0])

    best = min(
        minimize(negative, torch.randn(k).double().numpy(), method='Nelder-Mead',
                 options=dict(maxiter=20000, maxfev=20000, xatol=1e-9, fatol=1e-12)).fun
        for _ in range(4)
    )  # fmt: skip
    assert max_confidence(k, t) == pytest.approx(-best, abs=1e-5)


@pytest.mark.parametrize(
    ('k', 't', 'expected'),
    [(10, 0.1, 0.99976), (20, 0.1, 0.9993), (200, 0.1, 0.991), (1000, 0.1, 0.957),
     (100, 0.2, 0.606), (200, 0.2, 0.430)],
)  # fmt: skip
def test_max_confidence_of_the_papers_settings(k, t, expected):
    assert max_confidence(k, t) == pytest.approx(expected, abs=6e-4)


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return [F.normalize(torch.randn(B, K, dtype=torch.float64), dim=1) for _ in range(2)]


def reference(strong, weak, threshold, class_balanced):
    """SCAN's masked cross-entropy, one image at a time in float64."""
    chosen = []
    for s, w in zip(strong.tolist(), weak.tolist(), strict=True):
        e = [math.exp(x / T) for x in w]
        p = [x / sum(e) for x in e]
        if max(p) > threshold:
            label = p.index(max(p))
            chosen.append((label, math.log(sum(math.exp(x / T) for x in s)) - s[label] / T))
    labels = [label for label, _ in chosen]
    weights = [len(chosen) / labels.count(c) if class_balanced else 1 for c in labels]
    return sum(w * ce for w, (_, ce) in zip(weights, chosen, strict=True)) / sum(weights)


@pytest.mark.parametrize('class_balanced', [True, False])
@pytest.mark.parametrize('threshold', [0.0, 0.6, 0.9])
def test_equals_a_plain_loop(batch, threshold, class_balanced):
    loss, labels, counts = self_label_cross_entropy(
        batch[0] / T, batch[1] / T, threshold, class_balanced
    )
    assert loss.item() == pytest.approx(reference(*batch, threshold, class_balanced), abs=1e-12)
    score, cluster = torch.softmax(batch[1] / T, 1).max(1)
    assert torch.equal(labels, torch.where(score > threshold, cluster, -1))
    assert counts.tolist() == [int((labels == c).sum()) for c in range(K)]


def test_an_empty_mask_is_zero_with_a_gradient(batch):
    strong = batch[0].requires_grad_()
    loss, labels, counts = self_label_cross_entropy(strong / T, batch[1] / T, 0.9999, True)
    loss.backward()
    assert loss.item() == 0 and not strong.grad.any()
    assert (labels == -1).all() and not counts.any()


def test_only_the_strong_view_gets_a_gradient(batch):
    strong, weak = (x.requires_grad_() for x in batch)
    self_label_cross_entropy(strong / T, weak / T, 0.5, True)[0].backward()
    assert strong.grad.any() and weak.grad is None


def _rank(rank, world_size, strong, weak, sizes, class_balanced):
    start = sum(sizes[:rank])
    rows = slice(start, start + sizes[rank])
    strong = strong[rows].clone().requires_grad_()
    loss, _, counts = self_label_cross_entropy(strong / T, weak[rows] / T, 0.8, class_balanced)
    loss.backward()
    return float(loss.detach()), strong.grad / world_size, counts


@pytest.mark.parametrize('class_balanced', [True, False])
@pytest.mark.parametrize('world_size', [2, 4])
def test_ranks_share_one_mean(batch, world_size, class_balanced):
    """Also with a rank whose mask is empty and with ranks of different numbers."""
    strong, weak = batch
    score = torch.softmax(weak / T, 1).max(1)[0]
    weak = weak[score.argsort()]  # the first rank has the least confident images
    assert (score.sort()[0][: B // 4] < 0.8).all() and (score > 0.8).any()
    sizes = [B // world_size] * world_size
    one = strong.clone().requires_grad_()
    loss, _, counts = self_label_cross_entropy(one / T, weak / T, 0.8, class_balanced)
    loss.backward()
    ranks = run_ranks(world_size, _rank, strong, weak, sizes, class_balanced)
    assert sum(rank[0] for rank in ranks) / world_size == pytest.approx(loss.item(), abs=1e-12)
    torch.testing.assert_close(torch.cat([rank[1] for rank in ranks]), one.grad)
    assert all(torch.equal(rank[2], counts) for rank in ranks)


class TestSelfLabelLoss:
    def build(self, **kwargs):
        return MODELS.build(dict(type='SelfLabelLoss') | kwargs)

    def test_reports_the_confident_share(self, batch):
        result = self.build(threshold=0.8)(batch[0] / T, batch[1] / T)
        assert float(result['confident_share']) == pytest.approx(
            float((result['labels'] >= 0).double().mean())
        )
        assert 0 < float(result['confident_share']) < 1

    @pytest.mark.parametrize(('k', 't', 'bound'), [(100, 0.2, '0.605'), (1000, 0.1, '0.956')])
    def test_refuses_a_threshold_that_unit_norm_cannot_reach(self, k, t, bound):
        with pytest.raises(ValueError, match=f'no probability exceeds {bound}'):
            self.build(max_confidence=max_confidence(k, t), threshold=0.99)
        self.build(max_confidence=max_confidence(k, t), threshold=max_confidence(k, t) - 1e-6)

    def test_the_head_builds_it_with_its_own_k_and_t(self):
        head = dict(type='CDCHead', num_clusters=200, t=0.2, self_label=dict(type='SelfLabelLoss'))
        with pytest.raises(ValueError, match=r'no probability exceeds 0\.4'):
            MODELS.build(head)

    @pytest.mark.parametrize(('name', 'value'), [('threshold', -0.1), ('threshold', 1.0)])
    def test_refuses_values_out_of_range(self, name, value):
        with pytest.raises(ValueError, match=name):
            self.build(**{name: value})


class TestPseudoLabels:
    def test_counts_what_changed(self):
        record = PseudoLabels(6, 3)
        record.record(torch.tensor([4, 0, 2]), torch.tensor([1, -1, 0]))
        summary = record.finish_epoch()
        assert summary == dict(confident_share=pytest.approx(2 / 6), dead_clusters=1, flips=0.0)
        record.record(torch.tensor([0, 1, 2]), torch.tensor([2, 2, 1]))
        record.record(torch.tensor([3, 4, 5]), torch.tensor([-1, -1, 0]))
        # Image 2 changed; image 4 is not confident now, which is no flip.
        expected = dict(confident_share=pytest.approx(4 / 6), dead_clusters=0, flips=1.0)
        assert record.finish_epoch() == expected
        assert record.previous.tolist() == [2, 2, 1, -1, 1, 0]
        record.record(torch.arange(6), torch.tensor([2, 2, 2, 2, 1, 0]))
        assert record.finish_epoch()['flips'] == pytest.approx(1 / 5)

    def test_survives_a_checkpoint(self):
        record, other = PseudoLabels(3, 2), PseudoLabels(3, 2)
        record.record(torch.tensor([1]), torch.tensor([1]))
        record.finish_epoch()
        record.record(torch.tensor([0]), torch.tensor([0]))
        other.load_state_dict(record.state_dict())
        assert other.previous.tolist() == [-1, 1, -1] and other.current.tolist() == [0, -1, -1]


def _record(rank, world_size):
    record = PseudoLabels(4, 2)
    record.record(torch.tensor([rank, rank + 2]), torch.tensor([rank, 0]))
    return record.finish_epoch(), record.previous.tolist()


def test_ranks_join_their_pseudo_labels():
    for summary, previous in run_ranks(2, _record):
        assert previous == [0, 1, 0, 0]
        assert summary == dict(confident_share=1.0, dead_clusters=0, flips=0.0)
