import math
from typing import Optional

import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


@MODELS.register_module('SplitBN')
class SplitBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over ``num_splits`` parts of the batch apart, as that many GPUs would do it.

    MoCo needs statistics that differ between query and key (shuffle BN). On one GPU this layer
    provides them. In training, group g holds the rows g, g + G, g + 2 G, ...; in evaluation it is
    ``BatchNorm2d``. A batch that ``num_splits`` does not divide is split into as many groups as
    divide both. The running statistics are the mean over the groups. What comes in channels_last
    goes out so.

    Args:
        num_features (int): Channels.
        num_splits (int): G, the number of groups. Defaults to 8, as in MoCo's setting of 8 GPUs.
    """

    def __init__(self, num_features: int, num_splits: int = 8, **kwargs) -> None:
        super().__init__(num_features, **kwargs)
        if num_splits < 1:
            raise ValueError(f'num_splits must be at least 1, got {num_splits}')
        self.num_splits = num_splits

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W)."""
        splits = math.gcd(len(x), self.num_splits)
        if not self.training or splits == 1:
            return super().forward(x)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        mean, var = (
            None if stat is None else stat.repeat(splits)
            for stat in (self.running_mean, self.running_var)
        )
        if x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last):
            out = self._as_channels(x, splits, mean, var)
        else:
            out = _ChannelsLast.apply(
                x, self.weight, self.bias, mean, var, splits, self.momentum, self.eps
            )
        if mean is not None:
            c = self.num_features
            self.running_mean.copy_(mean.view(splits, c).mean(0))
            self.running_var.copy_(var.view(splits, c).mean(0))
        return out

    def _as_channels(
        self, x: Tensor, splits: int, mean: Optional[Tensor], var: Optional[Tensor]
    ) -> Tensor:
        """One batch norm, to which the groups are further channels: a view in this layout."""
        n, c, h, w = x.shape
        weight, bias = (
            None if param is None else param.repeat(splits) for param in (self.weight, self.bias)
        )
        out = F.batch_norm(
            x.reshape(n // splits, splits * c, h, w),
            mean,
            var,
            weight,
            bias,
            training=True,
            momentum=self.momentum,
            eps=self.eps,
        )
        return out.view(n, c, h, w)

    def extra_repr(self) -> str:
        """Name the number of groups when printed."""
        return f'{super().extra_repr()}, num_splits={self.num_splits}'


class _ChannelsLast(torch.autograd.Function):
    """A batch norm of each group, of images in channels_last, which the result is in, too.

    Here a group is no view that a batch norm could take; rows are copied into groups and back.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, mean, var, splits, momentum, eps) -> Tensor:
        groups = _grouped(x, splits).contiguous()
        out = torch.empty_like(x)
        saved = []
        for i, (group, target) in enumerate(zip(groups, _grouped(out, splits), strict=True)):
            rows = slice(i * x.shape[1], (i + 1) * x.shape[1])
            running = (None, None) if mean is None else (mean[rows], var[rows])
            normed, *statistics = torch.native_batch_norm(
                group.permute(0, 3, 1, 2), weight, bias, *running, True, momentum, eps
            )
            target.copy_(normed.permute(0, 2, 3, 1))
            saved += statistics
        ctx.save_for_backward(groups, weight, *saved)
        ctx.eps = eps
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple:
        groups, weight, *saved = ctx.saved_tensors
        splits = len(groups)
        grad_x = torch.empty_like(grad, memory_format=torch.channels_last)
        grads = _grouped(grad, splits).contiguous()
        of_weight, of_bias = [], []
        targets = _grouped(grad_x, splits)
        for i, (group, part, target) in enumerate(zip(groups, grads, targets, strict=True)):
            one, *others = torch.ops.aten.native_batch_norm_backward(
                part.permute(0, 3, 1, 2),
                group.permute(0, 3, 1, 2),
                weight,
                None,
                None,
                *saved[2 * i : 2 * i + 2],
                True,
                ctx.eps,
                [True, *ctx.needs_input_grad[1:3]],
            )
            target.copy_(one.permute(0, 2, 3, 1))
            of_weight.append(others[0])
            of_bias.append(others[1])
        of_both = [
            torch.stack(parts).sum(0) if needed else None
            for parts, needed in zip((of_weight, of_bias), ctx.needs_input_grad[1:3], strict=True)
        ]
        return grad_x, *of_both, None, None, None, None, None


def _grouped(x: Tensor, splits: int) -> Tensor:
    """A view (G, N / G, H, W, C) of (N, C, H, W)."""
    return x.permute(0, 2, 3, 1).unflatten(0, (len(x) // splits, splits)).transpose(0, 1)
