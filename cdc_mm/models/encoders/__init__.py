from .base import BaseEncoder
from .encoder import Encoder, build_encoder
from .pooling import pool_features, pooled_features
from .small_convnet import SmallConvNet
from .timm_encoder import TimmEncoder
from .torchvision_encoder import TorchvisionEncoder

__all__ = [
    'BaseEncoder',
    'Encoder',
    'SmallConvNet',
    'TimmEncoder',
    'TorchvisionEncoder',
    'build_encoder',
    'pool_features',
    'pooled_features',
]
