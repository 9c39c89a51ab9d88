from typing import Optional

import torch
from mmengine.dist import get_rank, get_world_size
from mmpretrain.registry import TASK_UTILS
from torch import Tensor

from .sinkhorn import sinkhorn_knopp


@TASK_UTILS.register_module()
class SinkhornAssigner:
    """Equal-sized soft assignments of a batch (section 2.2 of the paper).

    A batch of fewer samples than clusters cannot be spread evenly over them, so it is topped up
    with the newest past scores until it holds one row a cluster; their assignments are dropped.

    Args:
        epsilon (float): Entropy regularisation. Defaults to 0.05, the paper's.
        iterations (int): Sinkhorn iterations. Defaults to 3, the paper's.
    """

    def __init__(self, epsilon: float = 0.05, iterations: int = 3) -> None:
        if not epsilon > 0:
            raise ValueError(f'epsilon must be above 0, got {epsilon}')
        if iterations < 1:
            raise ValueError(f'iterations must be at least 1, got {iterations}')
        self.epsilon = epsilon
        self.iterations = iterations

    def num_past(self, batch_size: int, num_clusters: int) -> int:
        """The number of past rows that a batch of ``batch_size`` on every rank needs."""
        return max(0, num_clusters - batch_size * get_world_size())

    @torch.no_grad()
    def assign(self, scores: Tensor, past: Optional[Tensor] = None) -> Tensor:
        """Assign the rows of this rank.

        Args:
            scores (Tensor): This rank's scores zc, shape (B, K), B the same on every rank.
            past (Tensor, optional): Past scores, shape (M, K), newest first and the same on every
                rank. Its first ``num_past(B, K)`` rows are used.

        Returns:
            Tensor: Shape (B, K), rows sum to 1.

        Raises:
            ValueError: If the batch needs topping up and ``past`` is too short.
        """
        batch_size, num_clusters = scores.shape
        needed = self.num_past(batch_size, num_clusters)
        if needed == 0:
            return sinkhorn_knopp(scores, self.epsilon, self.iterations)
        available = 0 if past is None else len(past)
        if available < needed:
            raise ValueError(
                f'{num_clusters} clusters need at least as many samples: the batch has '
                f'{batch_size * get_world_size()} and the queue {available}. Raise the batch size '
                f'or set queue_size to {needed} or more.'
            )
        # Each past row counts once, so the ranks share them out.
        share = past[:needed][get_rank() :: get_world_size()].to(scores.dtype)
        rows = torch.cat([scores, share])
        return sinkhorn_knopp(rows, self.epsilon, self.iterations)[:batch_size]
