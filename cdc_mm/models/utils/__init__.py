from .distributed import gather_rows, shuffled_forward
from .tensors import as_float

__all__ = ['as_float', 'gather_rows', 'shuffled_forward']
