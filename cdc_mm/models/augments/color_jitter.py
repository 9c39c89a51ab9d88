import torch
from mmpretrain.registry import BATCH_AUGMENTS
from torch import Tensor

from .base import BatchAugment
from .functional import color_jitter_


@BATCH_AUGMENTS.register_module()
class BatchColorJitter(BatchAugment):
    """torchvision's ``ColorJitter``: each image by its own factors, in its own order.

    Args:
        brightness (float): Factors are drawn from [max(0, 1 - x), 1 + x]. Defaults to 0.
        contrast (float): Likewise. Defaults to 0.
        saturation (float): Likewise. Defaults to 0.
        hue (float): Turns are drawn from [-x, x], 1 being the whole circle; at most 0.5. Defaults
            to 0.
        p (float): Probability of each image. Defaults to 1.

    Raises:
        ValueError: If a strength is out of range.
    """

    def __init__(
        self,
        brightness: float = 0.0,
        contrast: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
        p: float = 1.0,
    ) -> None:
        super().__init__(p)
        strengths = (brightness, contrast, saturation, hue)
        if min(strengths) < 0 or hue > 0.5:
            raise ValueError(
                'brightness, contrast and saturation must be at least 0 and hue in [0, 0.5], got '
                f'{strengths}'
            )
        around = torch.tensor([1.0, 1.0, 1.0, 0.0])
        self.low = (around - torch.tensor(strengths)).clamp_(torch.tensor([0.0, 0.0, 0.0, -0.5]))
        self.high = around + torch.tensor(strengths)

    def change(self, images: Tensor, index: Tensor) -> Tensor:
        """See :class:`BatchAugment`."""
        factors = torch.lerp(self.low, self.high, torch.rand(len(index), 4))
        order = torch.rand(len(index), 4).argsort(dim=1)
        return color_jitter_(images, index, factors, order)
