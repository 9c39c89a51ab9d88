from . import kornia_augments
from .multi_view import MultiViewDataPreprocessor

__all__ = ['MultiViewDataPreprocessor', 'kornia_augments']
