import torch
from mmpretrain.registry import BATCH_AUGMENTS
from torch import Tensor

from .base import BatchAugment
from .functional import solarize_


@BATCH_AUGMENTS.register_module()
class BatchRandomSolarize(BatchAugment):
    """Inverts the pixels of images that are at or above a threshold.

    Args:
        threshold (float): In [0, 1]. Defaults to 0.5, BYOL's.
        p (float): Probability of each image. Defaults to 0.5, torchvision's.
    """

    def __init__(self, threshold: float = 0.5, p: float = 0.5) -> None:
        super().__init__(p)
        self.threshold = threshold

    def change(self, images: Tensor, index: Tensor) -> Tensor:
        """See :class:`BatchAugment`."""
        return solarize_(images, index, torch.full((len(index),), self.threshold))
