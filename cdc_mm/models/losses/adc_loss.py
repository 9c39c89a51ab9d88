import math
from typing import Tuple

import torch
from torch import Tensor

from ..utils import as_float, gather_with_grad


def association(centroids: Tensor, rows: Tensor) -> Tuple[Tensor, Tensor]:
    """Walks from the centroids to images and back (ADC, section 3).

    Steps are drawn by the softmax of the products. A walk shall end where it began, and walks
    shall visit all images of the global batch alike.

    Args:
        centroids (Tensor): Shape (K, E).
        rows (Tensor): Of this rank's images, shape (B, E), B the same on every rank.

    Returns:
        tuple: The walker loss, the mean cross-entropy of the centroid where a walk ends; the visit
        loss, the divergence of an even visit from the walks', at least 0.
    """
    rows = gather_with_grad(as_float(rows))
    match = as_float(centroids) @ rows.T
    there = match.softmax(dim=1)
    # In the log domain: log P(k -> any image -> k).
    back = match.T.log_softmax(dim=1)
    returned = torch.logsumexp(match.log_softmax(dim=1) + back.T, dim=1)
    visited = there.mean(dim=0).clamp_min(torch.finfo(there.dtype).tiny)
    return -returned.mean(), -visited.log().mean() - math.log(len(rows))
