import math

import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module('SplitBN')
class SplitBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over ``num_splits`` parts of the batch apart, as that many GPUs would do it.

    MoCo needs statistics that differ between query and key (shuffle BN). On one GPU this layer
    provides them. In training, group g holds the rows g, g + G, g + 2 G, ...; in evaluation it is
    ``BatchNorm2d``. A batch that ``num_splits`` does not divide is split into as many groups as
    divide both. The running statistics are the mean over the groups.

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
        n, c, h, w = x.shape
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        mean, var = (
            None if stat is None else stat.repeat(splits)
            for stat in (self.running_mean, self.running_var)
        )
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
        if mean is not None:
            self.running_mean.copy_(mean.view(splits, c).mean(0))
            self.running_var.copy_(var.view(splits, c).mean(0))
        return out.view(n, c, h, w)

    def extra_repr(self) -> str:
        """Name the number of groups when printed."""
        return f'{super().extra_repr()}, num_splits={self.num_splits}'
