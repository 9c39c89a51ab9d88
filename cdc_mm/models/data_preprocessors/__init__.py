from . import kornia_augments
from .labelled import LabelledDataPreprocessor
from .multi_view import MultiViewDataPreprocessor

__all__ = ['LabelledDataPreprocessor', 'MultiViewDataPreprocessor', 'kornia_augments']
