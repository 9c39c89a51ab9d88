from typing import Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..utils import as_float, gather_with_grad


def pairwise_decisions(scores: Tensor, upper: Tensor, lower: Tensor) -> Tuple[Tensor, Tensor]:
    """Whether two images are of one cluster, decided by themselves (DAC, section 3).

    The label feature of an image is the exponential of its scores, of unit norm. Pairs of the
    global batch that are more similar than ``upper`` shall be equal, those below ``lower``
    orthogonal; the others wait.

    Args:
        scores (Tensor): Of this rank's images, shape (B, K), B the same on every rank.
        upper (Tensor): Threshold, a scalar, at least ``lower``.
        lower (Tensor): Threshold, a scalar.

    Returns:
        tuple: The binary cross-entropy, the mean over the pairs that are decided, 0 if none is; the
        share of pairs that are decided, in [0, 1].
    """
    # The softmax has the same direction as the exponential.
    features = gather_with_grad(F.normalize(as_float(scores).softmax(dim=1), dim=1))
    one, other = torch.triu_indices(len(features), len(features), 1, device=features.device)
    similarity = (features[one] * features[other]).sum(dim=1)
    same = similarity.detach() >= upper
    decided = same | (similarity.detach() < lower)
    # A sure prediction must not give an infinite gradient.
    eps = 1e-6
    entropy = F.binary_cross_entropy(
        similarity.clamp(eps, 1 - eps), same.to(similarity), reduction='none'
    )
    return (entropy * decided).sum() / decided.sum().clamp(min=1), decided.float().mean()
