from .base import BaseEncoder
from .efficientnet_lite import EfficientNetLite, packaged_weights
from .encoder import Encoder, build_encoder
from .pooling import pool_features, pooled_features
from .small_convnet import SmallConvNet
from .timm_encoder import TimmEncoder
from .torchvision_encoder import TorchvisionEncoder

__all__ = [
    'BaseEncoder',
    'EfficientNetLite',
    'Encoder',
    'SmallConvNet',
    'TimmEncoder',
    'TorchvisionEncoder',
    'build_encoder',
    'packaged_weights',
    'pool_features',
    'pooled_features',
]
