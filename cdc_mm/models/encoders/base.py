from abc import ABCMeta, abstractmethod
from typing import Dict, List, Optional, Sequence, Union

import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseModule
from torch import Tensor, nn

from cdc_mm.checkpoints import fill_backbone, fit_backbone, read_backbone


class BaseEncoder(BaseModule, metaclass=ABCMeta):
    """Images to rows of features (B, D), with what the network was trained with.

    A frozen encoder has no parameter with a gradient, is in evaluation mode whatever mode its owner
    is put into, and runs without gradient. One whose backbone comes without trainable parameters
    (``frozen_stages=4`` of a ResNet) is frozen, too.

    Args:
        backbone (nn.Module): The network.
        freeze (bool): Whether to freeze it. Defaults to False.
        weights (str, optional): Checkpoint of any known layout that ``init_weights`` fills the
            whole network from, see :func:`cdc_mm.checkpoints.read_backbone`.
        mean (Sequence[float], optional): Pixel mean of its training by channel (RGB), in 0..255.
        std (Sequence[float], optional): Pixel standard deviation by channel, in 0..255.
        input_size (int, optional): Height and width in pixels that it was trained with.
        mirror (bool): Whether a row is the mean of those of the image and of its mirror image, for
            twice the time. Not in training, where views are flipped at random. Defaults to False.

    Attributes:
        frozen (bool): Whether it is frozen.
    """

    def __init__(
        self,
        backbone: nn.Module,
        freeze: bool = False,
        weights: Optional[str] = None,
        mean: Optional[Sequence[float]] = None,
        std: Optional[Sequence[float]] = None,
        input_size: Optional[int] = None,
        mirror: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.weights = weights
        self.mean = mean
        self.std = std
        self.input_size = input_size
        self.mirror = mirror
        if freeze:
            backbone.requires_grad_(False)
        self.frozen = not any(p.requires_grad for p in backbone.parameters())
        self.train(self.training)

    @property
    @abstractmethod
    def feat_dim(self) -> int:
        """D, the width of a row."""

    @abstractmethod
    def extract(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) to rows (B, D)."""

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) to rows (B, D), without gradient if it is frozen."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            rows = self.extract(images)
            if self.mirror and not self.training:
                rows = (rows + self.extract(images.flip(-1))) / 2
            return rows

    def train(self, mode: bool = True) -> 'BaseEncoder':
        """Set the mode; a frozen encoder stays in evaluation mode."""
        return super().train(mode and not self.frozen)

    def init_weights(self) -> None:
        """Fill the network from ``weights``, or let it initialise itself.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it does not fill the whole network.
        """
        if self.weights is None:
            super().init_weights()
        else:
            self.load_weights(self.weights)
            self._is_init = True

    def load_weights(self, filename: str) -> None:
        """Fill the network from a checkpoint; see ``init_weights``."""
        self.fill(self.read_weights(filename), filename)

    def read_weights(self, filename: str) -> Dict[str, Tensor]:
        """The weights of a checkpoint by the names that they have in ``backbone``."""
        return fit_backbone(read_backbone(filename, backbone=self.backbone), self.backbone)

    def fill(self, state: Dict[str, Tensor], filename: str) -> None:
        """Fill the network with weights, and say how many; see ``init_weights``."""
        fill_backbone(self.backbone, state, filename)
        MMLogger.get_current_instance().info(
            f'{filename} fills the whole {type(self.backbone).__name__}: {len(state)} tensors.'
        )


def known_width(backbone: nn.Module) -> Optional[int]:
    """The width of what a backbone puts out, where it says so.

    ``embed_dims`` does not: it is the width of the first stage (MViT) or of one of two streams.
    """
    for name in ('feat_dim', 'num_features'):
        width: Union[int, List[int], None] = getattr(backbone, name, None)
        if isinstance(width, (list, tuple)) and width:
            width = width[-1]
        if isinstance(width, int):
            return width
    return None
