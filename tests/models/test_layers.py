import copy

import pytest
import torch
from torch import nn

from cdc_mm.models.layers import MomentumEncoder, Queue


@pytest.mark.parametrize('sizes', [[5, 5, 5, 5], [8], [3, 20], [1, 1], [8, 8, 3]])
def test_queue_holds_the_newest_rows_in_any_batch_size(sizes):
    queue = Queue()
    queue.start(torch.zeros(8, 3))
    count = sum(sizes)
    rows = torch.arange(count, dtype=torch.float32)[:, None].expand(count, 3)
    for part in rows.split(sizes):
        queue.enqueue(part)
    stored = min(8, count)
    newest = torch.arange(count - 1, count - 1 - stored, -1, dtype=torch.float32)
    assert torch.equal(queue.newest(stored)[:, 0], newest)
    assert len(queue.newest(100)) == len(queue) == 8


def test_queue_goes_on_from_a_checkpoint():
    queue, unset = Queue(), Queue()
    assert not len(unset) and not unset.state_dict()
    queue.start(torch.randn(5, 2))
    queue.enqueue(torch.randn(3, 2))
    unset.load_state_dict(queue.state_dict())
    for each in (queue, unset):
        each.enqueue(torch.arange(8.0).view(4, 2))
    assert torch.equal(unset.rows, queue.rows) and unset.ptr == queue.ptr == 2
    other = Queue()
    other.start(torch.zeros(4, 2))
    with pytest.raises(RuntimeError, match='size mismatch'):
        other.load_state_dict(queue.state_dict())


def test_momentum_encoder_follows_parameters_but_not_buffers():
    source = nn.Module()
    source.encoder, source.neck = nn.BatchNorm1d(3), nn.Linear(3, 2)
    momentum = MomentumEncoder(dict(encoder=source.encoder, neck=source.neck))
    assert not any(p.requires_grad for p in momentum.parameters())
    before = copy.deepcopy(momentum.state_dict())
    with torch.no_grad():
        for p in source.parameters():
            p.add_(torch.randn_like(p))
    source.encoder(torch.randn(8, 3))
    momentum.update(source, 0.9)
    parameters = dict(source.named_parameters())
    for name, value in momentum.state_dict().items():
        moved = 0.9 * before[name] + 0.1 * parameters[name] if name in parameters else before[name]
        torch.testing.assert_close(value, moved)
    momentum.copy_from(source)
    for name, value in momentum.state_dict().items():
        assert torch.equal(value, source.state_dict()[name])
