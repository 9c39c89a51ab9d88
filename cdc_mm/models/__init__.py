from .assigners import SinkhornAssigner
from .clusterers import CDC, CDCMoCoV3
from .data_preprocessors import MultiViewDataPreprocessor
from .encoders import SmallConvNet
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
