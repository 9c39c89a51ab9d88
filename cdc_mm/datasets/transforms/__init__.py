from .fast_random_resized_crop import FastRandomResizedCrop
from .load_image import LoadImage, is_blank

__all__ = ['FastRandomResizedCrop', 'LoadImage', 'is_blank']
