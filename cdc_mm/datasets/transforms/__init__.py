from .load_image import LoadImage, is_blank

__all__ = ['LoadImage', 'is_blank']
