from typing import Optional, Sequence, Union

import torch
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from .base import BaseEncoder, known_width
from .pooling import pooled_features


@MODELS.register_module()
class Encoder(BaseEncoder):
    """Any backbone of mmpretrain's registry, pooled to rows; see :func:`pooled_features`.

    Args:
        backbone (dict | nn.Module): The backbone or its config.
        freeze (bool): Whether to freeze it. Defaults to False.
        weights (str, optional): Checkpoint to fill the backbone from; see :class:`BaseEncoder`.
        mean (Sequence[float], optional): Pixel mean of its training by channel (RGB), in 0..255.
        std (Sequence[float], optional): Pixel standard deviation by channel, in 0..255.
        input_size (int, optional): Height and width in pixels that it was trained with.
    """

    def __init__(
        self,
        backbone: Union[dict, nn.Module],
        freeze: bool = False,
        weights: Optional[str] = None,
        mean: Optional[Sequence[float]] = None,
        std: Optional[Sequence[float]] = None,
        input_size: Optional[int] = None,
    ) -> None:
        backbone = MODELS.build(backbone) if isinstance(backbone, dict) else backbone
        super().__init__(backbone, freeze, weights, mean, std, input_size)

    @property
    def feat_dim(self) -> int:
        """D, the width of a row: what the backbone says, or that of a trial run."""
        width = known_width(self.backbone)
        if width is None:
            size = self.input_size or getattr(self.backbone, 'img_size', 224)
            height, width = (size, size) if isinstance(size, int) else size
            parameter = next(self.backbone.parameters())
            training = self.backbone.training
            self.backbone.eval()
            with torch.no_grad():
                width = self.extract(parameter.new_zeros(1, 3, height, width)).shape[1]
            self.backbone.train(training)
        return width

    def extract(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) to rows (B, D)."""
        return pooled_features(self.backbone, images)


def build_encoder(cfg: Union[dict, nn.Module]) -> BaseEncoder:
    """Build an encoder from the config of one, or of a backbone, which it wraps.

    Args:
        cfg (dict | nn.Module): Config of an encoder or of any backbone, or one that is built.

    Returns:
        BaseEncoder: The encoder.
    """
    module = MODELS.build(cfg) if isinstance(cfg, dict) else cfg
    return module if isinstance(module, BaseEncoder) else Encoder(module)
