import warnings

import numpy as np
import torch
from mmpretrain.registry import MODELS
from torch import Tensor

from ..utils import neighbor_communities, neighbors_within_clusters
from .scan import SCAN


@MODELS.register_module()
class CommunitySCAN(SCAN):
    """SCAN's heads, and as many voters that know communities of the neighbour graph.

    SCAN's loss spreads images over clusters of equal size. Where kinds of images differ much in
    number that is wrong, and all its heads agree on it. Communities (:func:`neighbor_communities`)
    may have any size: each further head is a linear discriminant analysis of one partition, fitted
    once by :class:`FitRowsHook`. By :class:`ConsensusHook` both vote.

    Args:
        num_clusters (int): K.
        num_community_heads (int): Further heads, at least 1. Defaults to 32.
        num_neighbors (int): Of the graph. Defaults to 20.
        **kwargs: See :class:`SCAN`; ``num_components`` must be given.

    Raises:
        ValueError: See :class:`SCAN`; if a value is out of range.
    """

    def __init__(
        self,
        num_clusters: int,
        num_heads: int = 10,
        num_community_heads: int = 32,
        num_neighbors: int = 20,
        **kwargs,
    ) -> None:
        for name, value in (
            ('num_community_heads', num_community_heads),
            ('num_neighbors', num_neighbors),
            ('num_components', kwargs.get('num_components') or 0),
        ):
            if value < 1:
                raise ValueError(f'{name} must be at least 1, got {value}')
        super().__init__(num_clusters, num_heads=num_heads + num_community_heads, **kwargs)
        self.num_trained = num_heads
        self.num_neighbors = num_neighbors

    @torch.no_grad()
    def fit_rows(self, rows: np.ndarray) -> None:
        """Find principal components of training rows (N, D), and fit the heads of communities."""
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        super().fit_rows(rows)
        device = self.head.weight.device
        points = self.standardize(torch.as_tensor(rows, device=device)).cpu().numpy()
        count, k = self.num_heads - self.num_trained, self.num_clusters
        neighbors = neighbors_within_clusters(self.num_neighbors, len(rows), k)
        seed = int(torch.randint(2**31 - 1, ()))
        partitions = neighbor_communities(points, k, count, neighbors, seed)
        method = LinearDiscriminantAnalysis(solver='lsqr', shrinkage=0.1)
        for head, labels in enumerate(partitions, self.num_trained):
            with warnings.catch_warnings():
                warnings.filterwarnings('ignore', 'Only one sample')  # a community of one image
                method.fit(points, labels)
            weight, bias = method.coef_, method.intercept_
            if k == 2:  # of the second against the first
                weight, bias = (np.concatenate([0 * x, x]) for x in (weight, bias))
            own = slice(head * k, (head + 1) * k)
            self.head.weight[own] = torch.as_tensor(weight).to(self.head.weight)
            self.head.bias[own] = torch.as_tensor(bias).to(self.head.bias)

    def voters(self, share: float) -> Tensor:
        """The share of the trained heads that have the least loss, and all of communities."""
        count = max(1, round(share * self.num_trained))
        trained = self.losses[: self.num_trained].argsort()[:count]
        fitted = torch.arange(self.num_trained, self.num_heads, device=trained.device)
        return torch.cat([trained, fitted])

    def track(self, totals: Tensor) -> Tensor:
        """Add the losses of the trained heads to the moving averages; the others have the worst.

        Returns:
            Tensor: The least of them, a scalar.
        """
        others = totals.detach().max().expand(self.num_heads - self.num_trained)
        return super().track(torch.cat([totals.detach(), others]))
