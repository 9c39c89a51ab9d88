import numpy as np
import ot
import pytest
import torch
import torch.nn.functional as F
from helpers import run_ranks
from scipy.special import logsumexp

from cdc_mm.models.assigners import SinkhornAssigner, sinkhorn_knopp


def reference(scores, epsilon, iterations, sizes=None):
    """SwAV's algorithm (its appendix A) as a plain float64 loop; cluster k's mass is its size."""
    q = np.exp(scores.double().numpy() / epsilon).T
    q /= q.sum()
    k, b = q.shape
    shares = np.full(k, 1 / k) if sizes is None else np.divide(sizes, np.sum(sizes))
    for _ in range(iterations):
        q *= shares[:, None] / q.sum(axis=1, keepdims=True)
        q /= q.sum(axis=0, keepdims=True) * b
    return (q * b).T


def log_reference(scores, epsilon, iterations, sizes=1.0):
    """The same in the log domain, where nothing over- or underflows."""
    log_plan = scores.double().numpy() / epsilon
    for _ in range(iterations):
        log_plan = log_plan - logsumexp(log_plan, axis=0, keepdims=True) + np.log(sizes)
        log_plan = log_plan - logsumexp(log_plan, axis=1, keepdims=True)
    return np.exp(log_plan)


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


SIZES = [1.0, 2.0, 4.0, 0.5, 10.0, 3.0]


@pytest.mark.parametrize('iterations', [1, 3, 10])
def test_given_sizes_equal_float64_loop(iterations):
    scores, sizes = unit_scores(64, 6), torch.tensor(SIZES)
    result = sinkhorn_knopp(scores, 0.05, iterations, sizes)
    expected = reference(scores, 0.05, iterations, SIZES)
    np.testing.assert_allclose(result.numpy(), expected, rtol=0, atol=1e-5)


def test_given_sizes_equal_optimal_transport_library_at_convergence():
    b, epsilon, shares = 60, 0.05, np.array(SIZES) / sum(SIZES)
    scores = unit_scores(b, 6)
    plan = ot.sinkhorn(
        np.full(b, 1 / b),
        shares,
        -scores.double().numpy(),
        epsilon,
        method='sinkhorn_log',
        numItermax=10_000,
        stopThr=1e-12,
    )
    result = sinkhorn_knopp(scores.double(), epsilon, 1000, torch.tensor(SIZES))
    np.testing.assert_allclose(result.numpy(), plan * b, atol=1e-6)


def test_clusters_get_their_sizes():
    b, sizes = 300, torch.tensor(SIZES)
    result = sinkhorn_knopp(unit_scores(b, 6), 0.05, 300, sizes)
    torch.testing.assert_close(result.sum(1), torch.ones(b), rtol=0, atol=1e-5)
    torch.testing.assert_close(result.sum(0), b * sizes / sizes.sum(), rtol=1e-3, atol=0)


def test_equal_sizes_given_are_the_default():
    scores = unit_scores(64, 6)
    result = sinkhorn_knopp(scores, sizes=torch.full((6,), 7.0))
    torch.testing.assert_close(result, sinkhorn_knopp(scores), rtol=0, atol=1e-6)


def far_scores(b, k, scale):
    """Scores with rows and columns that lie far from each other."""
    generator = torch.Generator().manual_seed(0)
    shapes = (b, k), (b, 1), (1, k)
    return scale * sum(torch.randn(shape, generator=generator) for shape in shapes)


@pytest.mark.parametrize('iterations', [1, 3, 4, 5, 9, 40])
@pytest.mark.parametrize('scale', [5.0, 50.0, 1000.0])
@pytest.mark.parametrize('shape', [(64, 6), (200, 6), (5, 6)])
def test_far_scores_equal_the_log_domain(shape, scale, iterations):
    scores = far_scores(*shape, scale)
    expected = log_reference(scores, 0.05, iterations, SIZES)
    for dtype, atol in ((torch.float64, 1e-10), (torch.float32, 1e-3)):
        result = sinkhorn_knopp(scores.to(dtype), 0.05, iterations, torch.tensor(SIZES))
        np.testing.assert_allclose(result.numpy(), expected, rtol=0, atol=atol)


def test_float32_stays_near_after_many_rounds():
    """Exponents are kept small, as errors are as large as what they are errors of."""
    generator = torch.Generator().manual_seed(0)
    scores = 20 * torch.randn(300, 50, generator=generator)
    result = sinkhorn_knopp(scores, 0.02, 100)
    expected = log_reference(scores, 0.02, 100)
    np.testing.assert_allclose(result.numpy(), expected, rtol=0, atol=4e-5)


def test_autocast_changes_nothing():
    scores = unit_scores(64, 10)
    with torch.autocast('cpu', torch.bfloat16):
        result = sinkhorn_knopp(scores)
    assert torch.equal(result, sinkhorn_knopp(scores))


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
        (dict(scores=torch.zeros(3, 2), sizes=torch.ones(3)), 'sizes must have shape'),
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


def _far_part(rank, world_size, scores):
    return sinkhorn_knopp(scores.split([50, 14])[rank], iterations=9)


def test_far_scores_on_two_ranks_equal_one_process():
    scores = far_scores(64, 10, 50.0).double()
    parts = run_ranks(2, _far_part, scores)
    expected = sinkhorn_knopp(scores, iterations=9)
    torch.testing.assert_close(torch.cat(parts), expected, rtol=0, atol=1e-10)


def test_top_up_on_two_ranks_equals_one_process():
    scores, past = unit_scores(16, 30), unit_scores(40, 30, seed=1)
    parts = run_ranks(2, _assign_part, scores, past, [8, 8])
    expected = SinkhornAssigner().assign(scores, past)
    torch.testing.assert_close(torch.cat(parts), expected, rtol=0, atol=1e-6)


def _estimate_part(rank, world_size, steps):
    assigner = SinkhornAssigner(cluster_sizes='estimated', momentum=0.5, num_clusters=6)
    parts = [assigner.assign(scores.chunk(world_size)[rank]) for scores in steps]
    return parts, assigner.sizes


def test_estimated_sizes_on_two_ranks_equal_one_process():
    steps = [unit_scores(64, 6, seed) for seed in range(4)]
    expected, sizes = _estimate_part(0, 1, steps)
    (first, first_sizes), (second, second_sizes) = run_ranks(2, _estimate_part, steps)
    assert torch.equal(first_sizes, second_sizes) and sizes.max() > 0.3
    torch.testing.assert_close(first_sizes, sizes, rtol=0, atol=1e-6)
    for one, two, whole in zip(first, second, expected, strict=True):
        torch.testing.assert_close(torch.cat([one, two]), whole, rtol=0, atol=1e-5)


class TestSinkhornAssigner:
    def test_equal_sizes_are_no_state_and_nothing_new(self):
        assigner, scores = SinkhornAssigner(num_clusters=6), unit_scores(64, 6)
        assert torch.equal(assigner.assign(scores), sinkhorn_knopp(scores))
        assert not assigner.state_dict() and assigner.sizes is None

    def test_given_sizes_are_shares_and_no_state(self):
        assigner, scores = SinkhornAssigner(cluster_sizes=SIZES), unit_scores(64, 6)
        expected = sinkhorn_knopp(scores, sizes=torch.tensor(SIZES))
        torch.testing.assert_close(assigner.assign(scores), expected, rtol=0, atol=1e-6)
        assert float(assigner.sizes.sum()) == pytest.approx(1) and not assigner.state_dict()

    def test_estimated_sizes_follow_what_is_predicted(self):
        """An independent loop; the first batch meets equal sizes."""
        assigner = SinkhornAssigner(
            cluster_sizes='estimated', momentum=0.8, damping=0.25, num_clusters=6
        )
        sizes = np.full(6, 1 / 6)
        for seed in range(5):
            scores = unit_scores(64, 6, seed)
            used = 0.75 * sizes + 0.25 / 6
            expected = reference(scores, 0.05, 3, used)
            np.testing.assert_allclose(assigner.assign(scores).numpy(), expected, atol=1e-5)
            found = np.array([(scores.numpy().argmax(1) == k).mean() for k in range(6)])
            sizes = 0.8 * sizes + 0.2 * found
            np.testing.assert_allclose(assigner.sizes.numpy(), sizes, atol=1e-6)

    def test_a_cluster_that_nothing_is_predicted_for_keeps_room(self):
        assigner = SinkhornAssigner(cluster_sizes='estimated', momentum=0.0, num_clusters=6)
        scores = unit_scores(64, 6)
        scores[:, 3] = -1
        assigner.assign(scores)
        assert assigner.sizes[3] == 0
        assert assigner.assign(scores)[:, 3].sum() > 0.5

    def test_past_scores_are_not_counted(self):
        assigner = SinkhornAssigner(cluster_sizes='estimated', momentum=0.0, num_clusters=30)
        scores = unit_scores(16, 30)
        assigner.assign(scores, unit_scores(40, 30, seed=1))
        assert torch.equal(
            assigner.sizes, torch.bincount(scores.argmax(1), minlength=30) / len(scores)
        )

    def test_a_resumed_estimate_goes_on(self):
        whole, before, after = (
            SinkhornAssigner(cluster_sizes='estimated', num_clusters=6) for _ in range(3)
        )
        steps = [unit_scores(64, 6, seed) for seed in range(4)]
        expected = [whole.assign(scores) for scores in steps]
        for scores in steps[:2]:
            before.assign(scores)
        after.load_state_dict(before.state_dict())
        for scores, assignments in zip(steps[2:], expected[2:], strict=True):
            assert torch.equal(after.assign(scores), assignments)

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

    @pytest.mark.parametrize(
        'kwargs',
        [
            dict(epsilon=-1),
            dict(iterations=0),
            dict(momentum=1.0),
            dict(damping=0.0),
            dict(cluster_sizes=[1, 2, 3], num_clusters=4),
            dict(cluster_sizes=[1, 0, 3]),
            dict(cluster_sizes=[1, float('inf'), 3]),
            dict(cluster_sizes=[1, float('nan'), 3]),
            dict(cluster_sizes=[1, 'a', 3]),
            dict(cluster_sizes=3),
            dict(cluster_sizes='estimate', num_clusters=4),
            dict(cluster_sizes='estimated'),
        ],
    )
    def test_refuses_bad_settings(self, kwargs):
        with pytest.raises(ValueError, match=next(iter(kwargs))):
            SinkhornAssigner(**kwargs)
