from .assigners import SinkhornAssigner
from .backbones import SmallConvNet
from .cdc import CDC
from .data_preprocessors import MultiViewDataPreprocessor
from .heads import CDCHead
from .layers import SplitBatchNorm2d
from .losses import CDCLoss

__all__ = [
    'CDC',
    'CDCHead',
    'CDCLoss',
    'MultiViewDataPreprocessor',
    'SinkhornAssigner',
    'SmallConvNet',
    'SplitBatchNorm2d',
]
