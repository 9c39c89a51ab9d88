from .base import BaseClusterer, check_views
from .cdc import CDC
from .cdc_mocov3 import CDCMoCoV3
from .momentum_cdc import MomentumCDC
from .multi_head import MultiHead
from .self_label import SelfLabel

__all__ = [
    'CDC',
    'BaseClusterer',
    'CDCMoCoV3',
    'MomentumCDC',
    'MultiHead',
    'SelfLabel',
    'check_views',
]
