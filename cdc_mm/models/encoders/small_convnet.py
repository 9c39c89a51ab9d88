from typing import Optional, Sequence, Tuple

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, Sequential
from mmpretrain.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class SmallConvNet(BaseModule):
    """A plain stack of 3x3 convolutions, for thumbnails on a CPU.

    On images of 8 or 16 pixels a ResNet-18 spends its time on the overhead of many tiny layers.

    Args:
        in_channels (int): Channels of the images. Defaults to 3.
        channels (Sequence[int]): Output channels of each layer.
        strides (Sequence[int]): Stride of each layer.
        norm_cfg (dict): Config of the norm layers.
        frozen_stages (int): How many layers, from the first, are frozen: without gradient, and
            always in evaluation mode. Defaults to 0.

    Raises:
        ValueError: If ``channels`` and ``strides`` differ in length, or there are fewer layers than
            ``frozen_stages``.
    """

    def __init__(
        self,
        in_channels: int = 3,
        channels: Sequence[int] = (32, 64, 64, 128),
        strides: Sequence[int] = (1, 2, 1, 2),
        norm_cfg: Optional[dict] = None,
        frozen_stages: int = 0,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv2d'))
        if len(channels) != len(strides):
            raise ValueError(
                f'channels has {len(channels)} entries and strides {len(strides)}: give one of '
                'each for every layer'
            )
        if not 0 <= frozen_stages <= len(channels):
            raise ValueError(
                f'frozen_stages must be between 0 and the {len(channels)} layers, got '
                f'{frozen_stages}'
            )
        layers = []
        for width, stride in zip(channels, strides):
            layers.append(
                ConvModule(
                    in_channels, width, 3, stride, padding=1, norm_cfg=norm_cfg or dict(type='BN')
                )
            )
            in_channels = width
        self.layers = Sequential(*layers)
        self.feat_dim = in_channels
        self.frozen_stages = frozen_stages
        self.layers[:frozen_stages].requires_grad_(False)

    def train(self, mode: bool = True) -> 'SmallConvNet':
        """Set the mode of all layers but the frozen ones, which stay in evaluation mode."""
        super().train(mode)
        self.layers[: self.frozen_stages].eval()
        return self

    def forward(self, x: Tensor) -> Tuple[Tensor]:
        """Images (B, in_channels, H, W) to a feature map (B, feat_dim, h, w), in a tuple."""
        return (self.layers(x),)
