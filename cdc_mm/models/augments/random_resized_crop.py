from typing import Sequence, Union

from mmpretrain.registry import BATCH_AUGMENTS
from torch import Tensor, nn

from .base import check_range
from .functional import draw_boxes, resized_crop


@BATCH_AUGMENTS.register_module()
class BatchRandomResizedCrop(nn.Module):
    """torchvision's ``RandomResizedCrop`` of the images of a batch, each by its own box.

    For images that are all small and of one size: :func:`resized_crop` says why. Of photographs
    crops are made in the data workers (``FastRandomResizedCrop``).

    Args:
        size (int | Sequence[int]): Side, or height and width, of the crops when resized.
        scale (Sequence[float]): Least and largest share of the area. Defaults to (0.08, 1).
        ratio (Sequence[float]): Least and largest width over height. Defaults to (3/4, 4/3).

    Raises:
        ValueError: If a range is none.
    """

    def __init__(
        self,
        size: Union[int, Sequence[int]],
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
    ) -> None:
        super().__init__()
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.scale = check_range('scale', scale, 0, 1)
        self.ratio = check_range('ratio', ratio, 0)

    def forward(self, images: Tensor) -> Tensor:
        """Crops (B, C, *size) of images (B, C, H, W)."""
        boxes = draw_boxes(len(images), images.shape[2:], self.scale, self.ratio)
        return resized_crop(images, boxes, self.size)
