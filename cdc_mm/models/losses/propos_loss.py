import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..utils import as_float, gather_rows, gather_with_grad


def positive_alignment(predicted: Tensor, key: Tensor) -> Tensor:
    """Squared distance of unit rows, between a prediction and its target (ProPos, section 3).

    Args:
        predicted (Tensor): Shape (B, D), with gradient.
        key (Tensor): Shape (B, D), row i being row i's target.

    Returns:
        Tensor: Scalar in [0, 4], the mean over this rank's rows.
    """
    return 2 - 2 * F.cosine_similarity(as_float(predicted), as_float(key)).mean()


def prototype_scattering(query: Tensor, key: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Each prototype keeps close to that of the keys and away from the others (ProPos, section 3).

    A prototype is the mean of the unit rows of a cluster in the global batch, of unit norm.
    Clusters without an image in the batch are left out.

    Args:
        query (Tensor): This rank's rows, shape (B, D), with gradient.
        key (Tensor): Rows of the other view by the momentum encoder, shape (B, D).
        labels (Tensor): Their clusters, shape (B,), 0 or more.
        temperature (float): > 0.

    Returns:
        Tensor: Scalar, the mean over the clusters of the global batch.
    """
    clusters, labels = gather_rows(labels).unique(return_inverse=True)
    query = gather_with_grad(F.normalize(as_float(query), dim=1))
    key = gather_rows(F.normalize(as_float(key), dim=1))
    one_hot = F.one_hot(labels, len(clusters)).to(query)
    prototypes, targets = (F.normalize(one_hot.T @ rows, dim=1) for rows in (query, key))
    itself = torch.eye(len(clusters), dtype=torch.bool, device=query.device)
    negative = (prototypes @ prototypes.T / temperature).masked_fill(itself, -math.inf)
    positive = (prototypes * targets).sum(dim=1, keepdim=True) / temperature
    return (torch.logsumexp(torch.cat([positive, negative], dim=1), 1) - positive[:, 0]).mean()
