import torch
import torch.nn.functional as F
from torch import Tensor

from ..utils import gather_rows, gather_with_grad


def cluster_triplets(
    rows: Tensor, labels: Tensor, margin: float, gamma: float, num_negatives: int
) -> Tensor:
    """Rows of a cluster shall be closer than the nearest ones of others (JULE, section 3.3).

    Of each row of the global batch: max(0, gamma d+ - d- + margin) with the squared distance d+ to
    each other row of its cluster and d- to each of the nearest rows of other clusters.

    Args:
        rows (Tensor): Of unit norm, of this rank's images, shape (M, D), M the same on every rank.
        labels (Tensor): Their clusters, shape (M,).
        margin (float): At least 0.
        gamma (float): Weight of d+, > 0.
        num_negatives (int): How many rows of other clusters, at least 1.

    Returns:
        Tensor: Scalar, the mean over the triplets; 0 if there is none.
    """
    rows, labels = gather_with_grad(rows), gather_rows(labels)
    squared = 2 - 2 * rows @ rows.T
    same = labels[:, None] == labels
    others = squared.masked_fill(same, torch.inf)
    far = others.topk(min(num_negatives, len(rows)), dim=1, largest=False).values
    positive = same & ~torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    triplets = positive[:, :, None] & far.isfinite()[:, None, :]
    slack = F.relu(gamma * squared[:, :, None] - far[:, None, :] + margin)
    return slack.where(triplets, 0.0).sum() / triplets.sum().clamp(min=1)
