from .assigners import SinkhornAssigner
from .backbones import SmallConvNet
from .cdc import CDC
from .cdc_mocov3 import CDCMoCoV3
from .data_preprocessors import MultiViewDataPreprocessor
from .heads import CDCHead
from .layers import SplitBatchNorm2d
from .losses import CDCLoss, SelfLabelLoss

__all__ = [
    'CDC',
    'CDCHead',
    'CDCLoss',
    'CDCMoCoV3',
    'MultiViewDataPreprocessor',
    'SelfLabelLoss',
    'SinkhornAssigner',
    'SmallConvNet',
    'SplitBatchNorm2d',
]
