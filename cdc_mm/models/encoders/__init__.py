from .base import BaseEncoder
from .efficientnet_lite import EfficientNetLite, packaged_weights
from .encoder import Encoder, build_encoder
from .pooling import pool_features, pooled_features
from .pooling_conv_net import PoolingConvNet, WhatWhere
from .small_convnet import SmallConvNet
from .timm_encoder import TimmEncoder
from .torchvision_encoder import TorchvisionEncoder

__all__ = [
    'BaseEncoder',
    'EfficientNetLite',
    'Encoder',
    'PoolingConvNet',
    'SmallConvNet',
    'TimmEncoder',
    'TorchvisionEncoder',
    'WhatWhere',
    'build_encoder',
    'packaged_weights',
    'pool_features',
    'pooled_features',
]
