import torch.nn.functional as F
from torch import Tensor

from ..utils import as_float


def proto_nce(query: Tensor, prototypes: Tensor, labels: Tensor, temperatures: Tensor) -> Tensor:
    """Contrast of queries with the prototypes of one clustering (PCL, second part of equation 11).

    Args:
        query (Tensor): Unit rows, shape (B, D).
        prototypes (Tensor): Unit rows, shape (K, D).
        labels (Tensor): Which prototype is each query's, shape (B,).
        temperatures (Tensor): Of each prototype, > 0, shape (K,).

    Returns:
        Tensor: Scalar, the mean over this rank's rows.
    """
    return F.cross_entropy(as_float(query) @ prototypes.T / temperatures, labels)
