from cdc_mm.wrappers import unwrap_model

from .distributed import gather_rows, global_mean, shuffled_forward
from .pseudo_labels import PseudoLabels
from .tensors import as_float

__all__ = [
    'PseudoLabels',
    'as_float',
    'gather_rows',
    'global_mean',
    'shuffled_forward',
    'unwrap_model',
]
