from typing import Tuple

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(query: Tensor, key: Tensor, negatives: Tensor, tau: float) -> Tensor:
    """InfoNCE over given negatives (the paper's equation 2).

    The vectors are used as they come: CDC normalises zc and zn apart (Algorithm 1), so |z| is
    sqrt(2) and similarities lie in [-2, 2]. Normalising again would halve the temperature.

    Args:
        query (Tensor): z of one view, shape (B, D).
        key (Tensor): z of the other view, shape (B, D), row i being row i's positive.
        negatives (Tensor): Shape (M, D), shared by all rows.
        tau (float): Temperature, > 0.

    Returns:
        Tensor: Scalar, the mean over the batch.
    """
    query = query / tau
    positive = (query * key).sum(dim=1)
    negative = torch.logsumexp(query @ negatives.T, dim=1)
    return (torch.logaddexp(positive, negative) - positive).mean()


def cluster_cross_entropy(zc: Tensor, assignments: Tensor, t: float) -> Tensor:
    """Cross-entropy of softmax(zc / t) to soft assignments (the paper's equation 7).

    Args:
        zc (Tensor): Cluster logits, shape (B, K).
        assignments (Tensor): Target distributions, shape (B, K), rows sum to 1.
        t (float): Temperature, > 0.

    Returns:
        Tensor: Scalar, the mean over the batch. ln K for uniform predictions.
    """
    return F.cross_entropy(zc / t, assignments)


def cdc_loss(
    query: Tensor,
    key: Tensor,
    negatives: Tensor,
    assignments: Tensor,
    tau: float,
    t: float,
    alpha: float,
) -> Tuple[Tensor, Tensor]:
    """The two terms of the CDC objective for one view pair (the paper's equation 9).

    Args:
        query (Tensor): [zc, zn] of the query view, each part of unit norm, shape (B, K + C).
        key (Tensor): [zc, zn] of the key view, shape (B, K + C).
        negatives (Tensor): [zc, zn] of other images, shape (M, K + C).
        assignments (Tensor): Targets for the query's zc, shape (B, K).
        tau (float): Temperature of InfoNCE.
        t (float): Temperature of the cluster probabilities.
        alpha (float): Weight of the cross-entropy.

    Returns:
        tuple: InfoNCE and alpha times the cross-entropy, two scalars. Their sum is the objective.
    """
    zc = query[:, : assignments.shape[1]]
    return info_nce(query, key, negatives, tau), alpha * cluster_cross_entropy(zc, assignments, t)
