from .adc import ADC
from .base import BaseClusterer, check_views
from .cdc import CDC
from .cdc_mocov3 import CDCMoCoV3
from .community_scan import CommunitySCAN
from .contrastive_clustering import ContrastiveClustering
from .dac import DAC
from .dec import DEC
from .deepcluster_v2 import DeepClusterV2
from .ensemble import EnsembleClusterer
from .iic import IIC
from .jule import JULE
from .momentum_cdc import MomentumCDC
from .multi_head import MultiHead
from .propos import ProPos
from .scan import SCAN
from .self_label import SelfLabel
from .temi import TEMI
from .turtle import TURTLE

__all__ = [
    'ADC',
    'CDC',
    'DAC',
    'DEC',
    'IIC',
    'JULE',
    'SCAN',
    'TEMI',
    'TURTLE',
    'BaseClusterer',
    'CDCMoCoV3',
    'CommunitySCAN',
    'ContrastiveClustering',
    'DeepClusterV2',
    'EnsembleClusterer',
    'MomentumCDC',
    'MultiHead',
    'ProPos',
    'SelfLabel',
    'check_views',
]
