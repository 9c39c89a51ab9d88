from .cdc import CDC
from .cdc_mocov3 import CDCMoCoV3

__all__ = ['CDC', 'CDCMoCoV3']
