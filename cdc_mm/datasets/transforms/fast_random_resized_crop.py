import numpy as np
import torch
import torch.nn.functional as F
from mmpretrain.datasets.transforms import RandomResizedCrop
from mmpretrain.registry import TRANSFORMS


@TRANSFORMS.register_module()
class FastRandomResizedCrop(RandomResizedCrop):
    """mmpretrain's ``RandomResizedCrop`` with its boxes, resized by torch's kernel for 8 bits.

    It resizes bilinearly and with antialiasing, as Pillow does (``backend='pillow'``): pixels are
    equal to within 1 of 255, from a different rounding, in a fraction of the time. OpenCV's
    bilinear resize, mmcv's default, has no antialiasing.

    Args:
        scale (int | Sequence[int]): Side, or height and width, of the crops when resized.
        crop_ratio_range (tuple[float]): Least and largest share of the area. Defaults to
            (0.08, 1).
        **kwargs: ``aspect_ratio_range`` and ``max_attempts`` of mmpretrain's.

    Raises:
        ValueError: If another interpolation or backend is asked for.
    """

    def __init__(self, scale, crop_ratio_range=(0.08, 1.0), **kwargs) -> None:
        for name in ('interpolation', 'backend'):
            if name in kwargs:
                raise ValueError(f'FastRandomResizedCrop has no {name}: use RandomResizedCrop')
        super().__init__(scale, crop_ratio_range, backend='pillow', **kwargs)

    def transform(self, results: dict) -> dict:
        """Cut a box out of ``img`` (H, W, C), uint8, and resize it.

        Args:
            results (dict): With ``img``.

        Returns:
            dict: With ``img`` of the size that was asked for, and ``img_shape``.
        """
        image = results['img']
        top, left, height, width = self.rand_crop_params(image)
        # A copy of the box: what is mapped from a file cannot be written, which torch warns of.
        box = np.ascontiguousarray(image[top : top + height, left : left + width])
        box = torch.from_numpy(box).permute(2, 0, 1)[None]
        made = F.interpolate(box, tuple(self.scale), mode='bilinear', antialias=True)
        results['img'] = made[0].permute(1, 2, 0).numpy()
        results['img_shape'] = results['img'].shape
        return results
