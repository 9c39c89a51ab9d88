import torch
from torch import Tensor

from ..utils import as_float, mean_over_ranks


def mutual_information(scores: Tensor, other_scores: Tensor) -> Tensor:
    """Mutual information of the clusters of two views of the same images (IIC, equation 3).

    The joint distribution of the clusters is the mean over the global batch of the products of
    both views' probabilities, made symmetric (equations 1 and 2).

    Args:
        scores (Tensor): Of one view, whose softmax gives the probabilities, shape (..., B, K).
        other_scores (Tensor): Of the other view of each image, the same shape.

    Returns:
        Tensor: Shape (...), in nats, in [0, ln K].
    """
    p, q = (as_float(x).softmax(dim=-1) for x in (scores, other_scores))
    joint = mean_over_ranks(p.transpose(-1, -2) @ q / p.shape[-2])
    joint = (joint + joint.transpose(-1, -2)) / 2
    # H(z) + H(z') - H(z, z'): as entr(0) is 0, an empty cluster does no harm.
    joint = joint.clamp_min(torch.finfo(joint.dtype).tiny)
    of_one, of_other = joint.sum(dim=-1), joint.sum(dim=-2)
    entropies = [torch.special.entr(x).sum(dim=-1) for x in (of_one, of_other)]
    return sum(entropies) - torch.special.entr(joint).sum(dim=(-1, -2))
