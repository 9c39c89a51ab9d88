import math
from typing import Tuple

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, get_rank, get_world_size
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..assigners import sinkhorn_knopp
from ..utils import as_float, full_precision, gather_rows


@full_precision
def info_nce(query: Tensor, key: Tensor, negatives: Tensor, tau: float) -> Tensor:
    """InfoNCE over given negatives (the paper's equation 2).

    The vectors are used as they come: CDC normalises zc and zn apart (Algorithm 1), so |z| is
    sqrt(2) and similarities lie in [-2, 2]. Normalising again would halve the temperature.

    Where key and negatives have no gradient, as in MoCo, that of the query is computed at once: the
    (B, M) similarities are not kept, and the negatives may be overwritten before backward.

    Args:
        query (Tensor): z of one view, shape (B, D).
        key (Tensor): z of the other view, shape (B, D), row i being row i's positive.
        negatives (Tensor): Shape (M, D), shared by all rows.
        tau (float): Temperature, > 0.

    Returns:
        Tensor: Scalar, the mean over the batch, at least in float32.
    """
    if torch.is_grad_enabled() and (key.requires_grad or negatives.requires_grad):
        scaled = query / tau
        positive = (scaled * key).sum(dim=1)
        negative = torch.logsumexp(scaled @ negatives.T, dim=1)
        return (torch.logaddexp(positive, negative) - positive).mean()
    return _InfoNCE.apply(query, key, negatives, tau)


class _InfoNCE(torch.autograd.Function):
    """Equation 2 and its gradient with respect to the query."""

    @staticmethod
    def forward(ctx, query: Tensor, key: Tensor, negatives: Tensor, tau: float) -> Tensor:
        scaled = query / tau
        positive = (scaled * key).sum(dim=1, keepdim=True)
        similarities = torch.cat([scaled @ negatives.T, positive], dim=1)
        log_shares = torch.log_softmax(similarities, dim=1)
        loss = -log_shares[:, -1].mean()
        if ctx.needs_input_grad[0]:
            shares = torch.exp(log_shares, out=similarities)
            torch.expm1(log_shares[:, -1], out=shares[:, -1])
            gradient = torch.addmm(shares[:, -1:] * key, shares[:, :-1], negatives)
            ctx.save_for_backward(gradient.div_(tau * len(query)))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple:
        return grad * ctx.saved_tensors[0], None, None, None


@full_precision
def in_batch_info_nce(query: Tensor, key: Tensor, tau: float) -> Tensor:
    """InfoNCE whose negatives are the other keys of the global batch (MoCo v3, section 3).

    Args:
        query (Tensor): This rank's queries, shape (B, D), B the same on every rank.
        key (Tensor): This rank's keys, shape (B, D), row i being row i's positive.
        tau (float): Temperature, > 0.

    Returns:
        Tensor: Scalar, the mean over this rank's rows, at least in float32.
    """
    positive = torch.arange(len(query), device=query.device) + get_rank() * len(query)
    return F.cross_entropy(query @ gather_rows(key).T / tau, positive)


@full_precision
def cluster_cross_entropy(zc: Tensor, assignments: Tensor, t: float) -> Tensor:
    """Cross-entropy of softmax(zc / t) to soft assignments (the paper's equation 7).

    Args:
        zc (Tensor): Cluster logits, shape (B, K).
        assignments (Tensor): Target distributions, shape (B, K), rows sum to 1.
        t (float): Temperature, > 0.

    Returns:
        Tensor: Scalar, the mean over the batch, at least in float32. ln K for uniform predictions.
    """
    return F.cross_entropy(zc / t, assignments)


def max_confidence(num_clusters: int, t: float) -> float:
    """The largest probability that softmax(zc / t) can have for zc of unit norm.

    It is reached where zc points to one corner of the simplex of K clusters.

    Args:
        num_clusters (int): K, at least 2.
        t (float): Temperature, > 0.

    Returns:
        float: In (1 / K, 1).
    """
    k = num_clusters
    return 1 / (1 + (k - 1) * math.exp(-math.sqrt(k / (k - 1)) / t))


@full_precision
def self_label_cross_entropy(
    strong: Tensor, weak: Tensor, threshold: float, class_balanced: bool
) -> Tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy of a strong view to the confident clusters of a weak one (section 2.4).

    Images whose weak view has a probability above the threshold take its cluster as their label.
    The mean runs over those of the global batch (SCAN's self-labelling), so that every rank
    weighs its images alike, however many there are. None at all give a loss of 0.

    Args:
        strong (Tensor): Scores of the clusters for the strong view, whose softmax gives
            probabilities, shape (B, K), with gradient.
        weak (Tensor): Scores for the weak view, shape (B, K).
        threshold (float): In [0, 1).
        class_balanced (bool): Whether each cluster weighs the same, its images sharing the weight
            (n / count).

    Returns:
        tuple: The loss; the labels (B,), -1 where not confident; the confident images of each
        cluster in the global batch (K,).
    """
    num_clusters = strong.shape[1]
    score, labels = torch.softmax(as_float(weak).detach(), dim=1).max(dim=1)
    confident = score > threshold
    counts = torch.zeros(num_clusters, device=labels.device, dtype=score.dtype)
    counts.index_add_(0, labels, confident.to(score.dtype))
    all_reduce(counts)
    total = counts.sum()
    weights = torch.ones_like(counts)
    if class_balanced:
        weights = torch.where(counts > 0, total / counts.clamp(min=1), weights)
    each = F.cross_entropy(as_float(strong), labels, reduction='none')
    share = weights[labels] * confident / (weights * counts).sum().clamp(min=1)
    # Data parallel training takes the mean over the ranks.
    loss = (share * each).sum() * get_world_size()
    return loss, torch.where(confident, labels, -1), counts


def swapped_prediction(
    scores: Tensor, other_scores: Tensor, temperature: float, epsilon: float, iterations: int
) -> Tensor:
    """Predict the assignments of each view from the other (SwAV, equations 1 and 2).

    Assignments spread the global batch evenly over the prototypes, see :func:`sinkhorn_knopp`.

    Args:
        scores (Tensor): Similarity of this rank's images to the prototypes, shape (B, K).
        other_scores (Tensor): The same of another view of each, shape (B, K).
        temperature (float): Of the prediction, > 0.
        epsilon (float): Entropy regularisation of the assignments, > 0.
        iterations (int): Rounds of Sinkhorn, at least 1.

    Returns:
        Tensor: Scalar, half the sum of both directions, each the mean over this rank's rows.
    """
    scores, other_scores = as_float(scores), as_float(other_scores)
    losses = [
        F.cross_entropy(of / temperature, sinkhorn_knopp(by, epsilon, iterations))
        for of, by in ((scores, other_scores), (other_scores, scores))
    ]
    return sum(losses) / 2
