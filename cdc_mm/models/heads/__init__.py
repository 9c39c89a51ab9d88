from .cdc_head import CDCHead

__all__ = ['CDCHead']
