import math
from typing import Optional, Sequence, Union

import torch
from mmengine.dist import all_reduce, get_rank, get_world_size
from mmpretrain.registry import TASK_UTILS
from torch import Tensor, nn

from .sinkhorn import sinkhorn_knopp


@TASK_UTILS.register_module()
class SinkhornAssigner(nn.Module):
    """Soft assignments of a batch to clusters of equal size (section 2.2 of the paper), or not.

    Where clusters differ in size, say so, or have the sizes estimated::

        model = dict(head=dict(assigner=dict(type='SinkhornAssigner', cluster_sizes=[5, 3, 2])))
        model = dict(head=dict(assigner=dict(type='SinkhornAssigner', cluster_sizes='estimated')))

    Given sizes are those of cluster 0, 1 and so on from the first batch, when it is chance which
    images will be in which. Estimated sizes begin equal and follow, as an exponential moving
    average over all ranks, those that the network predicts; they are state that a checkpoint keeps.
    Alone they let large clusters swallow small ones; take them with :class:`ReclusterHook`, by
    whose clusters the network predicts sizes that are in the data (docs/results.md).

    A batch of fewer samples than clusters cannot be spread evenly over them, so it is topped up
    with the newest past scores until it holds one row a cluster; their assignments are dropped.

    Args:
        epsilon (float): Entropy regularisation. Defaults to 0.05, the paper's.
        iterations (int): Sinkhorn iterations. Defaults to 3, the paper's.
        cluster_sizes (Sequence[float] | str, optional): Sizes relative to each other, one for each
            cluster, or ``estimated``. Defaults to equal ones, the paper's.
        momentum (float): Share of the estimate that a batch keeps, in [0, 1). Defaults to 0.99.
        damping (float): How far estimated sizes are drawn to equal ones, in (0, 1]. Defaults to
            0.1.
        num_clusters (int, optional): K; :class:`CDCHead` fills it in.

    Raises:
        ValueError: If a value is out of range, or there are not K sizes.

    Attributes:
        sizes (Tensor, optional): Shares of the clusters, which sum to 1, shape (K,); None for equal
            ones. A buffer, which checkpoints keep if it is estimated.
    """

    def __init__(
        self,
        epsilon: float = 0.05,
        iterations: int = 3,
        cluster_sizes: Optional[Union[Sequence[float], str]] = None,
        momentum: float = 0.99,
        damping: float = 0.1,
        num_clusters: Optional[int] = None,
    ) -> None:
        super().__init__()
        if not epsilon > 0:
            raise ValueError(f'epsilon must be above 0, got {epsilon}')
        if iterations < 1:
            raise ValueError(f'iterations must be at least 1, got {iterations}')
        if not 0 <= momentum < 1:
            raise ValueError(f'momentum must be at least 0 and below 1, got {momentum}')
        if not 0 < damping <= 1:
            raise ValueError(f'damping must be above 0 and at most 1, got {damping}')
        self.epsilon = epsilon
        self.iterations = iterations
        self.momentum = momentum
        self.damping = damping
        self.estimated = isinstance(cluster_sizes, str)
        sizes = None
        if self.estimated:
            if cluster_sizes != 'estimated':
                raise ValueError(
                    f'cluster_sizes must be a list or "estimated", got {cluster_sizes!r}'
                )
            if num_clusters is None:
                raise ValueError('estimated cluster_sizes need num_clusters')
            sizes = torch.full((num_clusters,), 1 / num_clusters)
        elif cluster_sizes is not None:
            sizes = _shares(cluster_sizes, num_clusters)
        self.register_buffer('sizes', sizes, persistent=self.estimated)

    def num_past(self, batch_size: int, num_clusters: int) -> int:
        """The number of past rows that a batch of ``batch_size`` on every rank needs."""
        return max(0, num_clusters - batch_size * get_world_size())

    @torch.no_grad()
    def assign(self, scores: Tensor, past: Optional[Tensor] = None) -> Tensor:
        """Assign the rows of this rank; estimated sizes learn from them afterwards.

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
        rows = scores
        if needed > 0:
            available = 0 if past is None else len(past)
            if available < needed:
                raise ValueError(
                    f'{num_clusters} clusters need at least as many samples: the batch has '
                    f'{batch_size * get_world_size()} and the queue {available}. Raise the batch '
                    f'size or set queue_size to {needed} or more.'
                )
            # Each past row counts once, so the ranks share them out.
            share = past[:needed][get_rank() :: get_world_size()].to(scores.dtype)
            rows = torch.cat([scores, share])
        sizes = self.sizes
        if self.estimated:
            # A cluster that the network has lost would never come back without.
            sizes = (1 - self.damping) * sizes + self.damping / num_clusters
        assignments = sinkhorn_knopp(rows, self.epsilon, self.iterations, sizes)[:batch_size]
        if self.estimated:
            self._estimate(scores)
        return assignments

    def _estimate(self, scores: Tensor) -> None:
        counts = torch.bincount(scores.argmax(dim=1), minlength=len(self.sizes)).to(self.sizes)
        all_reduce(counts)
        self.sizes.lerp_(counts / counts.sum(), 1 - self.momentum)


def _shares(sizes: Sequence[float], num_clusters: Optional[int]) -> Tensor:
    """Sizes as shares of the whole."""
    if not (
        isinstance(sizes, Sequence)
        and all(isinstance(size, (int, float)) and 0 < size < math.inf for size in sizes)
    ):
        raise ValueError(f'cluster_sizes must be numbers, finite and above 0, got {sizes}')
    if num_clusters not in (None, len(sizes)):
        raise ValueError(
            f'cluster_sizes must have one value for each of {num_clusters} clusters, got '
            f'{len(sizes)}'
        )
    shares = torch.tensor(sizes, dtype=torch.float64)
    return (shares / shares.sum()).float()
