from mmpretrain.registry import BATCH_AUGMENTS
from torch import Tensor

from .base import BatchAugment
from .functional import flip_


@BATCH_AUGMENTS.register_module()
class BatchRandomHorizontalFlip(BatchAugment):
    """Mirrors images left to right.

    Args:
        p (float): Probability of each. Defaults to 0.5.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)

    def change(self, images: Tensor, index: Tensor) -> Tensor:
        """See :class:`BatchAugment`."""
        return flip_(images, index)
