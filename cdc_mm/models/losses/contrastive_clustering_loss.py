import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..utils import as_float, gather_with_grad


def nt_xent(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Each row finds its pair among all rows of both sides (SimCLR; CC, equations 2 and 3).

    Args:
        one (Tensor): Shape (N, D).
        other (Tensor): Shape (N, D), row i being the pair of row i of ``one``.
        temperature (float): Of the cosine similarities, > 0.

    Returns:
        Tensor: Scalar, the mean over the 2 N rows.
    """
    rows = F.normalize(torch.cat([one, other]), dim=1)
    itself = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    similarity = (rows @ rows.T / temperature).masked_fill(itself, -math.inf)
    pair = torch.arange(len(rows), device=rows.device).roll(len(one))
    return F.cross_entropy(similarity, pair)


def instance_contrast(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """:func:`nt_xent` of two views of this rank's images, (B, D) each, in the global batch."""
    return nt_xent(*(gather_with_grad(as_float(x)) for x in (one, other)), temperature)


def cluster_contrast(scores: Tensor, other_scores: Tensor, temperature: float) -> Tensor:
    """Each cluster finds itself in the other view by its images (CC, equations 4 to 6).

    A cluster is the column of its probabilities for the images of the global batch. The entropy of
    the cluster sizes keeps all of them in use.

    Args:
        scores (Tensor): Of one view, whose softmax gives the probabilities, shape (B, K).
        other_scores (Tensor): Of the other view of each image, shape (B, K).
        temperature (float): > 0.

    Returns:
        Tensor: Scalar: the contrast of the clusters, plus ln K minus the entropy of each view.
    """
    p, q = (gather_with_grad(as_float(x).softmax(dim=1)) for x in (scores, other_scores))
    entropy = sum(torch.special.entr(x.mean(dim=0)).sum() for x in (p, q))
    return nt_xent(p.T, q.T, temperature) + 2 * math.log(p.shape[1]) - entropy
