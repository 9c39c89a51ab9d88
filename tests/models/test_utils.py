import pytest
import torch
from helpers import run_ranks

from cdc_mm.models.utils import as_float, gather_rows, log_softmax, shuffled_forward


def test_shuffled_forward_restores_the_order():
    x = torch.arange(10.0)[:, None]
    seen = []
    out = shuffled_forward(lambda rows: seen.append(rows) or 2 * rows, x)
    assert torch.equal(out, 2 * x)
    assert not torch.equal(seen[0], x)
    assert torch.equal(seen[0].sort(dim=0).values, x)


def test_one_process_gathers_nothing():
    x = torch.randn(3, 2)
    assert gather_rows(x) is x


def _shuffle(rank, world_size, batch_size):
    x = torch.arange(batch_size)[:, None] + 100.0 * rank
    torch.manual_seed(rank)
    seen = []
    out = shuffled_forward(lambda rows: seen.append(rows) or 2 * rows, x)
    return out.numpy(), x.numpy(), seen[0].numpy()


@pytest.mark.parametrize(('world_size', 'batch_size'), [(2, 6), (2, 5), (3, 4), (3, 1), (4, 6)])
def test_ranks_exchange_rows_and_get_their_own_back(world_size, batch_size):
    results = run_ranks(world_size, _shuffle, batch_size)
    for out, x, rows in results:
        assert (out == 2 * x).all()
        assert len(rows) == batch_size
    seen = [row for _, _, rows in results for row in rows[:, 0]]
    assert sorted(seen) == sorted(row for _, x, _ in results for row in x[:, 0])
    if batch_size >= world_size:
        sources = [{int(row) // 100 for row in rows[:, 0]} for _, _, rows in results]
        assert all(len(ranks) == world_size for ranks in sources)


def _gather(rank, world_size):
    return gather_rows(torch.full((2, 1), float(rank))).flatten().tolist()


def test_gather_rows_in_rank_order():
    assert run_ranks(2, _gather) == [[0.0, 0.0, 1.0, 1.0]] * 2


def test_as_float():
    assert as_float(torch.ones(1).half()).dtype == torch.float32
    assert as_float(torch.ones(1).bfloat16()).dtype == torch.float32
    assert as_float(torch.ones(1).double()).dtype == torch.float64


@pytest.mark.parametrize('num_clusters', [1, 2, 10, 15, 16, 40])
@pytest.mark.parametrize('shape', [(7,), (3, 7), (0,)])
def test_log_softmax_is_torchs_however_many_clusters(num_clusters, shape):
    scores = 30 * torch.randn(*shape, num_clusters)
    expected = scores.double().log_softmax(dim=-1)
    found = log_softmax(scores)
    assert found.dtype == torch.float32 and found.shape == expected.shape
    assert torch.allclose(found.double(), expected, atol=1e-5)
    assert log_softmax(scores.bfloat16()).dtype == torch.float32
    exact = scores.double().requires_grad_()
    log_softmax(exact).square().sum().backward()
    other = scores.double().requires_grad_()
    other.log_softmax(dim=-1).square().sum().backward()
    assert torch.allclose(exact.grad, other.grad, rtol=1e-12)
