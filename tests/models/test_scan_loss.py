import math

import pytest
import torch
from helpers import run_ranks

from cdc_mm.models import SCANLoss

B, K, H = 12, 4, 3


def reference(scores, neighbors, weight):
    """SCAN's equation 2, one pair at a time in float64."""

    def softmax(row):
        e = [math.exp(x) for x in row]
        return [x / sum(e) for x in e]

    p, q = ([softmax(row) for row in rows.double().tolist()] for rows in (scores, neighbors))
    agree = -sum(math.log(sum(a * b for a, b in zip(*pair))) for pair in zip(p, q)) / len(p)
    mean = [sum(column) / len(p) for column in zip(*p)]
    return agree, weight * sum(m * math.log(m) for m in mean)


@pytest.fixture
def pair():
    torch.manual_seed(0)
    return torch.randn(2, H, B, K, dtype=torch.float64)


@pytest.mark.parametrize('weight', [0.0, 2.0, 5.0])
def test_equals_the_papers_equation(pair, weight):
    losses = SCANLoss(weight)(*pair)
    for head, (scores, neighbors) in enumerate(zip(*pair)):
        agree, entropy = reference(scores, neighbors, weight)
        assert losses['loss_neighbor'][head].item() == pytest.approx(agree, rel=1e-10)
        assert losses['loss_entropy'][head].item() == pytest.approx(entropy, rel=1e-10)
        alone = SCANLoss(weight)(scores, neighbors)
        assert alone['loss_neighbor'].item() == pytest.approx(agree, rel=1e-10)


def test_is_finite_for_sure_predictions_that_differ():
    scores = torch.tensor([[200.0, 0.0]])
    losses = SCANLoss()(scores, scores.flip(1))
    assert losses['loss_neighbor'].item() == pytest.approx(200 - math.log(2), rel=1e-6)


def test_the_gradient_is_right():
    torch.manual_seed(1)
    pair = [torch.randn(5, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(lambda *x: sum(SCANLoss()(*x).values()), pair)


def _rank_main(rank, world_size, rows):
    own = [part.chunk(world_size, dim=1)[rank].clone().requires_grad_() for part in rows]
    losses = SCANLoss()(*own)
    sum(term.sum() for term in losses.values()).backward()
    # What data parallel training makes of the gradients: their mean over the ranks.
    return {k: v.detach() for k, v in losses.items()}, [x.grad / world_size for x in own]


def test_ranks_get_the_gradient_of_one_process(pair):
    whole = [part.clone().requires_grad_() for part in pair]
    losses = SCANLoss()(*whole)
    sum(term.sum() for term in losses.values()).backward()
    results = run_ranks(2, _rank_main, list(pair))
    for i, part in enumerate(whole):
        found = torch.cat([gradients[i] for _, gradients in results], dim=1)
        torch.testing.assert_close(found, part.grad)
    # The entropy is that of all rows on each rank.
    for found, _ in results:
        torch.testing.assert_close(found['loss_entropy'], losses['loss_entropy'].detach())


def test_refuses_a_negative_weight():
    with pytest.raises(ValueError, match='entropy_weight must not be negative, got -1'):
        SCANLoss(-1)
