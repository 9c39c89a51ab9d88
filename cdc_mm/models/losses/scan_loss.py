from typing import Dict

import torch
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from ..utils import log_softmax, mean_over_ranks


@MODELS.register_module()
class SCANLoss(nn.Module):
    """Neighbours share a cluster, and all clusters are used (SCAN, equation 2).

    -log(p_i . p_j), the mean over the pairs of an image and a neighbour, minus the weighted entropy
    of the mean prediction of the global batch.

    `SCAN: Learning to Classify Images without Labels <https://arxiv.org/abs/2005.12320>`_.

    Args:
        entropy_weight (float): Weight of the entropy. Defaults to 5, SCAN's.

    Raises:
        ValueError: If the weight is negative.
    """

    def __init__(self, entropy_weight: float = 5.0) -> None:
        super().__init__()
        if entropy_weight < 0:
            raise ValueError(f'entropy_weight must not be negative, got {entropy_weight}')
        self.entropy_weight = entropy_weight

    def forward(self, scores: Tensor, neighbor_scores: Tensor) -> Dict[str, Tensor]:
        """Compute both terms, of one head or of several.

        Args:
            scores (Tensor): Of the images, whose softmax gives the probabilities, shape (B, K), or
                (H, B, K) of H heads.
            neighbor_scores (Tensor): Of one neighbour of each, the same shape.

        Returns:
            dict: Each a scalar or (H,): ``loss_neighbor``, in [0, inf), and ``loss_entropy``,
            weighted, in [-weight ln K, 0].
        """
        log_p, log_q = log_softmax(scores), log_softmax(neighbor_scores)
        # In the log domain, where the product of two sure predictions does not underflow.
        agreement = torch.logsumexp(log_p + log_q, dim=-1).mean(dim=-1)
        entropy = torch.special.entr(mean_over_ranks(log_p.exp().mean(dim=-2))).sum(dim=-1)
        return dict(loss_neighbor=-agreement, loss_entropy=-self.entropy_weight * entropy)
