import torch
import torch.nn.functional as F
from torch import Tensor

from ..utils import gather_rows, gather_with_grad


def cluster_triplets(rows: Tensor, labels: Tensor, margin: float, gamma: float) -> Tensor:
    """Rows of a cluster shall be closer than those of others (JULE, section 3.3).

    Of each row of the global batch: max(0, gamma d+ - d- + margin) with the squared distance d+ to
    each other row of its cluster and d- to each row of other clusters. They take memory for as many
    values as there are pairs of one cluster, times rows.

    Args:
        rows (Tensor): Of unit norm, of this rank's images, shape (M, D), M the same on every rank.
        labels (Tensor): Their clusters, shape (M,).
        margin (float): At least 0.
        gamma (float): Weight of d+, > 0.

    Returns:
        Tensor: Scalar, the mean over the triplets; 0 if there is none.
    """
    rows, labels = gather_with_grad(rows), gather_rows(labels)
    squared = 2 - 2 * rows @ rows.T
    same = labels[:, None] == labels
    positive = same & ~torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    anchor, other = positive.nonzero(as_tuple=True)
    triplets = ~same[anchor]
    slack = F.relu(gamma * squared[anchor, other][:, None] - squared[anchor] + margin)
    return slack.where(triplets, 0.0).sum() / triplets.sum().clamp(min=1)
