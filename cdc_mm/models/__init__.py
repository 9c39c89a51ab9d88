from .assigners import SinkhornAssigner
from .clusterers import CDC, BaseClusterer, CDCMoCoV3, MultiHead, SelfLabel
from .data_preprocessors import MultiViewDataPreprocessor
from .encoders import BaseEncoder, Encoder, SmallConvNet, TimmEncoder, TorchvisionEncoder
from .heads import CDCHead
from .layers import SplitBatchNorm2d
from .losses import CDCLoss, SelfLabelLoss

__all__ = [
    'CDC',
    'BaseClusterer',
    'BaseEncoder',
    'CDCHead',
    'CDCLoss',
    'CDCMoCoV3',
    'Encoder',
    'MultiHead',
    'MultiViewDataPreprocessor',
    'SelfLabel',
    'SelfLabelLoss',
    'SinkhornAssigner',
    'SmallConvNet',
    'SplitBatchNorm2d',
    'TimmEncoder',
    'TorchvisionEncoder',
]
