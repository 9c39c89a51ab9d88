from typing import Sequence

import torch
from mmpretrain.registry import BATCH_AUGMENTS
from torch import Tensor

from .base import BatchAugment, check_range
from .functional import gaussian_blur_


@BATCH_AUGMENTS.register_module()
class BatchGaussianBlur(BatchAugment):
    """Blurs images, each by its own sigma.

    Args:
        kernel_size (int): Odd; SimCLR takes a tenth of the side. Defaults to 23.
        sigma (Sequence[float]): Least and largest, in pixels. Defaults to (0.1, 2).
        p (float): Probability of each image. Defaults to 0.5.

    Raises:
        ValueError: If ``kernel_size`` is even or ``sigma`` no range above 0.
    """

    def __init__(
        self, kernel_size: int = 23, sigma: Sequence[float] = (0.1, 2.0), p: float = 0.5
    ) -> None:
        super().__init__(p)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f'kernel_size must be odd, got {kernel_size}')
        self.kernel_size = kernel_size
        self.sigma = check_range('sigma', sigma, 1e-3)

    def change(self, images: Tensor, index: Tensor) -> Tensor:
        """See :class:`BatchAugment`."""
        sigma = torch.empty(len(index)).uniform_(*self.sigma)
        return gaussian_blur_(images, index, sigma, self.kernel_size)
