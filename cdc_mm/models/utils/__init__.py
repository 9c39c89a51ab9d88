from cdc_mm.wrappers import unwrap_model

from .communities import neighbor_communities, neighbors_within_clusters
from .distributed import (
    gather_rows,
    gather_with_grad,
    mean_over_ranks,
    shuffled_forward,
)
from .folding import inference_copy
from .pseudo_labels import PseudoLabels
from .tensors import as_float, full_precision, log_softmax

__all__ = [
    'PseudoLabels',
    'as_float',
    'full_precision',
    'gather_rows',
    'gather_with_grad',
    'inference_copy',
    'log_softmax',
    'mean_over_ranks',
    'neighbor_communities',
    'neighbors_within_clusters',
    'shuffled_forward',
    'unwrap_model',
]
