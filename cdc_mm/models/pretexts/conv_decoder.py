from typing import Sequence

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, Sequential
from mmpretrain.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class ConvDecoder(BaseModule):
    """Rows to images by transposed convolutions: the decoder of autoencoders, a GAN's generator.

    A linear layer to a small feature map, then layers that double its side (4x4, stride 2), with
    batch norm and ReLU but for the last (DCGAN's guidelines). Images are standardised and not
    bounded, so nothing squashes the output.

    Args:
        in_channels (int): D, the width of a row.
        channels (Sequence[int]): Channels of the feature map that each layer takes.
        image_size (int): Height and width of the images.
        out_channels (int): Channels of the images. Defaults to 3.

    Raises:
        ValueError: If ``channels`` is empty, or ``image_size`` cannot be halved once a layer.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        image_size: int,
        out_channels: int = 3,
    ) -> None:
        super().__init__(dict(type='Kaiming', layer=['ConvTranspose2d', 'Linear']))
        side, rest = divmod(image_size, 2 ** len(channels))
        if not channels or rest or not side:
            raise ValueError(
                f'{len(channels)} layers, each of which doubles the side, cannot end at '
                f'image_size={image_size}: give as many channels as it can be halved'
            )
        self.in_channels = in_channels
        self.first = nn.Sequential(
            nn.Linear(in_channels, channels[0] * side * side),
            nn.Unflatten(1, (channels[0], side, side)),
            nn.BatchNorm2d(channels[0]),
            nn.ReLU(),
        )
        layers = []
        for width, following in zip(channels, (*channels[1:], out_channels)):
            last = len(layers) == len(channels) - 1
            layers.append(
                ConvModule(
                    width,
                    following,
                    4,
                    stride=2,
                    padding=1,
                    conv_cfg=dict(type='deconv'),
                    norm_cfg=None if last else dict(type='BN'),
                    act_cfg=None if last else dict(type='ReLU'),
                )
            )
        self.layers = Sequential(*layers)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows (B, in_channels) to images (B, out_channels, image_size, image_size)."""
        return self.layers(self.first(rows))
