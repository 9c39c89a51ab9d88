from .base import BaseClusterer, check_views
from .cdc import CDC
from .cdc_mocov3 import CDCMoCoV3
from .dec import DEC
from .ensemble import EnsembleClusterer
from .momentum_cdc import MomentumCDC
from .multi_head import MultiHead
from .scan import SCAN
from .self_label import SelfLabel
from .temi import TEMI
from .turtle import TURTLE

__all__ = [
    'CDC',
    'DEC',
    'SCAN',
    'TEMI',
    'TURTLE',
    'BaseClusterer',
    'CDCMoCoV3',
    'EnsembleClusterer',
    'MomentumCDC',
    'MultiHead',
    'SelfLabel',
    'check_views',
]
