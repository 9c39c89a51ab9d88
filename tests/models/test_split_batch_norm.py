import pytest
import torch
from mmcv.cnn import build_norm_layer
from torch import nn

from cdc_mm.models import SplitBatchNorm2d


def groups(x, splits):
    return [x[g::splits] for g in range(splits)]


@pytest.mark.parametrize(('batch', 'splits', 'used'), [(8, 4, 4), (6, 4, 2), (5, 4, 1), (1, 8, 1)])
def test_training_equals_one_batch_norm_for_each_group(batch, splits, used):
    x = torch.randn(batch, 3, 5, 5) * 2 + 1
    layer = SplitBatchNorm2d(3, num_splits=splits)
    nn.init.uniform_(layer.weight)
    nn.init.uniform_(layer.bias)
    out = layer(x)

    # Group g holds every `used`-th row when the rows are laid out one group after the other.
    rows = torch.arange(batch).view(batch // used, used)
    means, variances = [], []
    for g in range(used):
        reference = nn.BatchNorm2d(3)
        reference.load_state_dict(
            {**SplitBatchNorm2d(3).state_dict(), 'weight': layer.weight, 'bias': layer.bias}
        )
        torch.testing.assert_close(out[rows[:, g]], reference(x[rows[:, g]]))
        means.append(reference.running_mean)
        variances.append(reference.running_var)
    torch.testing.assert_close(layer.running_mean, torch.stack(means).mean(0))
    torch.testing.assert_close(layer.running_var, torch.stack(variances).mean(0))
    assert int(layer.num_batches_tracked) == 1


@pytest.mark.parametrize('kwargs', [{}, dict(affine=False), dict(track_running_stats=False)])
@pytest.mark.parametrize('frozen', [False, True])
def test_channels_last_stays_and_changes_no_number(kwargs, frozen):
    results = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        layer = SplitBatchNorm2d(3, num_splits=4, **kwargs).double()
        for parameter in layer.parameters():
            nn.init.uniform_(parameter)
        layer.requires_grad_(not frozen)
        x = torch.randn(12, 3, 5, 4, dtype=torch.float64).to(memory_format=memory_format)
        x.requires_grad_()
        outs = [layer(x), layer(x + 1)]  # twice, for the running statistics
        (outs[0] * torch.linspace(0, 1, x.numel(), dtype=x.dtype).view(x.shape)).sum().backward()
        assert all(out.is_contiguous(memory_format=memory_format) for out in outs)
        assert x.grad.is_contiguous(memory_format=memory_format)
        results.append([*outs, x.grad, *(p.grad for p in layer.parameters()), *layer.buffers()])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(b, a)


def test_mixed_precision_in_channels_last():
    x = torch.randn(8, 3, 5, 5).to(memory_format=torch.channels_last)
    layer = SplitBatchNorm2d(3, num_splits=4)
    expected = layer(x)
    with torch.autocast('cpu', torch.bfloat16):
        out = layer(x.bfloat16().requires_grad_())
    out.sum().backward()
    assert out.dtype == torch.bfloat16 and layer.weight.grad.dtype == torch.float32
    torch.testing.assert_close(out.float(), expected, rtol=0.02, atol=0.02)


def test_evaluation_is_plain_batch_norm():
    x = torch.randn(8, 3, 5, 5)
    layer, plain = SplitBatchNorm2d(3, num_splits=4).eval(), nn.BatchNorm2d(3).eval()
    torch.testing.assert_close(layer(x), plain(x))


def test_gradient():
    layer = SplitBatchNorm2d(2, num_splits=2).double()
    x = torch.randn(4, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))
    assert torch.autograd.gradcheck(
        lambda x: layer(x.contiguous(memory_format=torch.channels_last)), (x,)
    )


def test_is_a_norm_layer_with_the_names_of_batch_norm():
    name, layer = build_norm_layer(dict(type='SplitBN', num_splits=4), 6, postfix=1)
    assert name == 'bn1' and layer.num_splits == 4
    assert set(layer.state_dict()) == set(nn.BatchNorm2d(6).state_dict())
    assert 'num_splits=4' in repr(layer)


def test_refuses_no_groups():
    with pytest.raises(ValueError, match='num_splits'):
        SplitBatchNorm2d(3, num_splits=0)
