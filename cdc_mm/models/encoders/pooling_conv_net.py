from typing import List, NamedTuple, Optional, Sequence, Tuple

import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor

from .small_convnet import SmallConvNet


class WhatWhere(NamedTuple):
    """What a layer of a :class:`PoolingConvNet` found, and where.

    Attributes:
        what (Tensor): The largest value of each window, shape (B, D, h, w).
        where (Tensor, optional): Its place, as ``max_unpool2d`` takes it, of the same shape; None
            if the layer does not pool.
    """

    what: Tensor
    where: Optional[Tensor]


@MODELS.register_module()
class PoolingConvNet(SmallConvNet):
    """A :class:`SmallConvNet` that halves by max-pooling, so that places can be given back.

    Args:
        strides (Sequence[int]): Of each layer the windows of its pooling, 1 for none.
        **kwargs: See :class:`SmallConvNet`.
    """

    def __init__(self, strides: Sequence[int] = (1, 2, 1, 2), **kwargs) -> None:
        super().__init__(strides=[1] * len(strides), **kwargs)
        self.strides = tuple(strides)

    def what_where(self, x: Tensor) -> List[WhatWhere]:
        """Images (B, in_channels, H, W) to what each layer found and where, from the first."""
        found = []
        for layer, stride in zip(self.layers, self.strides, strict=True):
            x, where = layer(x), None
            if stride > 1:
                x, where = F.max_pool2d(x, stride, return_indices=True)
            found.append(WhatWhere(x, where))
        return found

    def forward(self, x: Tensor) -> Tuple[Tensor]:
        """Images (B, in_channels, H, W) to a feature map (B, feat_dim, h, w), in a tuple."""
        return (self.what_where(x)[-1].what,)
