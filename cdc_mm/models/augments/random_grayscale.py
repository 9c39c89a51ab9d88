from mmpretrain.registry import BATCH_AUGMENTS
from torch import Tensor

from .base import BatchAugment
from .functional import grayscale_


@BATCH_AUGMENTS.register_module()
class BatchRandomGrayscale(BatchAugment):
    """Takes the colours from images.

    Args:
        p (float): Probability of each. Defaults to 0.1, torchvision's.
    """

    def __init__(self, p: float = 0.1) -> None:
        super().__init__(p)

    def change(self, images: Tensor, index: Tensor) -> Tensor:
        """See :class:`BatchAugment`."""
        return grayscale_(images, index)
