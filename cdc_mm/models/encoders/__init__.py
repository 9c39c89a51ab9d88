from .pooling import pool_features
from .small_convnet import SmallConvNet

__all__ = ['SmallConvNet', 'pool_features']
