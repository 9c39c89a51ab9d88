from .color_jitter import BatchColorJitter
from .gaussian_blur import BatchGaussianBlur
from .random_grayscale import BatchRandomGrayscale
from .random_horizontal_flip import BatchRandomHorizontalFlip
from .random_resized_crop import BatchRandomResizedCrop
from .random_solarize import BatchRandomSolarize

__all__ = [
    'BatchColorJitter',
    'BatchGaussianBlur',
    'BatchRandomGrayscale',
    'BatchRandomHorizontalFlip',
    'BatchRandomResizedCrop',
    'BatchRandomSolarize',
]
