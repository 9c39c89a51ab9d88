import numpy as np
import ot
import pytest
import torch
import torch.nn.functional as F
from helpers import run_ranks

from cdc_mm.models.assigners import SinkhornAssigner, sinkhorn_knopp


def reference(scores, epsilon, iterations):
    """SwAV's algorithm (its appendix A) as a plain float64 loop."""
    q = np.exp(scores.double().numpy() / epsilon).T
    q /= q.sum()
    k, b = q.shape
    for _ in range(iterations):
        q /= q.sum(axis=1, keepdims=True) * k
        q /= q.sum(axis=0, keepdims=True) * b
    return (q * b).T


def unit_scores(b, k, seed=0, spread=1.0):
    generator = torch.Generator().manual_seed(seed)
    # One cluster is ahead for every sample, as early in training: a hard case to balance.
    scores = spread * torch.randn(b, k, generator=generator) + torch.eye(k)[0]
    return F.normalize(scores, dim=1)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize('iterations', [1, 3, 10])
@pytest.mark.parametrize('shape', [(64, 10), (7, 20), (512, 100)])
def test_equals_float64_loop(dtype, iterations, shape):
    scores = unit_scores(*shape).to(dtype)
    result = sinkhorn_knopp(scores, epsilon=0.05, iterations=iterations)
    assert result.dtype == torch.float32
    np.testing.assert_allclose(
        result.numpy(), reference(scores, 0.05, iterations), rtol=0, atol=1e-5
    )


def test_float64_stays_float64():
    scores = unit_scores(64, 10).double()
    result = sinkhorn_knopp(scores, 0.05, 3)
    np.testing.assert_allclose(result.numpy(), reference(scores, 0.05, 3), rtol=0, atol=1e-12)


def test_rows_and_columns_at_convergence():
    b, k = 300, 12
    result = sinkhorn_knopp(unit_scores(b, k), 0.05, iterations=300)
    torch.testing.assert_close(result.sum(1), torch.ones(b), rtol=0, atol=1e-5)
    torch.testing.assert_close(result.sum(0), torch.full((k,), b / k), rtol=1e-3, atol=0)


def test_equals_optimal_transport_library_at_convergence():
    b, k, epsilon = 60, 6, 0.05
    scores = unit_scores(b, k)
    plan = ot.sinkhorn(
        np.full(b, 1 / b), np.full(k, 1 / k), -scores.double().numpy(), epsilon, stopThr=1e-12
    )
    result = sinkhorn_knopp(scores.double(), epsilon, iterations=500)
    np.testing.assert_allclose(result.numpy(), plan * b, atol=1e-6)


@pytest.mark.parametrize('epsilon', [0.05, 1e-3])
@pytest.mark.parametrize('scale', [1.0, 50.0])
def test_finite_for_sharp_and_large_scores(epsilon, scale):
    result = sinkhorn_knopp(scale * unit_scores(64, 10), epsilon, 3)
    assert result.isfinite().all()
    torch.testing.assert_close(result.sum(1), torch.ones(64), rtol=0, atol=1e-4)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_constant_scores_give_uniform_assignments(dtype):
    result = sinkhorn_knopp(torch.full((8, 5), 0.7, dtype=dtype), 1e-3, 3)
    torch.testing.assert_close(result, torch.full((8, 5), 0.2))


def test_no_gradient_and_input_untouched():
    scores = unit_scores(8, 4).requires_grad_()
    before = scores.detach().clone()
    assert not sinkhorn_knopp(scores).requires_grad
    assert torch.equal(scores.detach(), before)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(scores=torch.zeros(3)), 'shape'),
        (dict(scores=torch.zeros(3, 2), epsilon=0.0), 'epsilon'),
        (dict(scores=torch.zeros(3, 2), iterations=0), 'iterations'),
    ],
)
def test_refuses_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        sinkhorn_knopp(**kwargs)


def _assign_part(rank, world_size, scores, past, sizes):
    part = scores.split(sizes)[rank]
    return SinkhornAssigner().assign(part, past)


def _sinkhorn_part(rank, world_size, scores, sizes):
    return sinkhorn_knopp(scores.split(sizes)[rank])


@pytest.mark.parametrize('sizes', [[32, 32], [50, 14], [64, 0]])
def test_two_ranks_equal_one_process(sizes):
    scores = unit_scores(64, 10)
    parts = run_ranks(2, _sinkhorn_part, scores, sizes)
    torch.testing.assert_close(torch.cat(parts), sinkhorn_knopp(scores), rtol=0, atol=1e-6)


def test_top_up_on_two_ranks_equals_one_process():
    scores, past = unit_scores(16, 30), unit_scores(40, 30, seed=1)
    parts = run_ranks(2, _assign_part, scores, past, [8, 8])
    expected = SinkhornAssigner().assign(scores, past)
    torch.testing.assert_close(torch.cat(parts), expected, rtol=0, atol=1e-6)


class TestSinkhornAssigner:
    def test_tops_up_to_one_row_a_cluster_with_the_newest(self):
        scores, past = unit_scores(16, 30), unit_scores(40, 30, seed=1)
        result = SinkhornAssigner().assign(scores, past)
        expected = sinkhorn_knopp(torch.cat([scores, past[:14]]))[:16]
        torch.testing.assert_close(result, expected)
        assert not torch.allclose(result, sinkhorn_knopp(scores), atol=1e-3)

    def test_past_is_left_alone_when_the_batch_suffices(self):
        scores = unit_scores(30, 30)
        result = SinkhornAssigner().assign(scores, unit_scores(40, 30, seed=1))
        assert torch.equal(result, sinkhorn_knopp(scores))

    def test_too_few_samples_say_what_to_do(self):
        with pytest.raises(ValueError, match='set queue_size to 14 or more'):
            SinkhornAssigner().assign(unit_scores(16, 30), unit_scores(13, 30))
        with pytest.raises(ValueError, match='Raise the batch size'):
            SinkhornAssigner().assign(unit_scores(16, 30))

    @pytest.mark.parametrize('kwargs', [dict(epsilon=-1), dict(iterations=0)])
    def test_refuses_bad_settings(self, kwargs):
        with pytest.raises(ValueError, match=next(iter(kwargs))):
            SinkhornAssigner(**kwargs)
