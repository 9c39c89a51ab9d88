import torch
from torch import Tensor, nn


class BatchAugment(nn.Module):
    """A step of a view: changes each image of a batch with some probability.

    Parameters are drawn on the host by torch's generator, for each image its own, so that a seed
    gives the same views on every device.

    Args:
        p (float): Probability that an image is changed.

    Raises:
        ValueError: If ``p`` is no probability.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f'{type(self).__name__}: p must be in [0, 1], got {p}')
        self.p = p

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W), RGB in [0, 1], which are changed in place, and returned."""
        index = (torch.rand(len(images)) < self.p).nonzero()[:, 0]
        return self.change(images, index) if len(index) else images

    def change(self, images: Tensor, index: Tensor) -> Tensor:
        """The images, those of the numbers ``index`` (n,) changed in place."""
        raise NotImplementedError


def check_range(name: str, values, low: float, high: float = float('inf')) -> tuple:
    """A pair of numbers in ascending order within [low, high].

    Raises:
        ValueError: If it is none.
    """
    values = tuple(values)
    if len(values) != 2 or not low <= values[0] <= values[1] <= high:
        raise ValueError(f'{name} must be two numbers between {low} and {high}, got {values}')
    return values
