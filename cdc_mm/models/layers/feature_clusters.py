from typing import List, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FeatureClusters(nn.Module):
    """Clusters of the features of all training images, which :class:`FeatureClustersHook` enters.

    There may be several clusterings, each with its own number of clusters. They are state that a
    checkpoint keeps. Rows are of unit norm, and so are the centres.

    Args:
        num_clusters (Sequence[int]): K of each clustering.
        dim (int): D, the width of the rows.
        remember (bool): Whether rows that training computes are kept by :meth:`keep`, so that
            clustering needs no pass over the images. Defaults to False.

    Raises:
        ValueError: If a clustering has fewer than 2 clusters, or there is none.

    Attributes:
        labels (Tensor): Cluster of each image in each clustering, -1 for none, shape (M, N) for M
            clusterings, a buffer; None before :meth:`start`.
        centers (Tensor): Shape (sum of all K, D), a buffer; zero before the first clustering.
        concentration (Tensor): How far the images of each cluster are from its centre, see
            :func:`concentration`; the mean of a clustering is 1. Shape (sum of all K,), a buffer.
        memory (Tensor): The newest row of each image, zero where there is none yet, shape (N, D), a
            buffer; None if nothing is remembered, and before :meth:`start`.
        active (bool): Whether training shall use the clusters. Set by the hook.
    """

    def __init__(self, num_clusters: Sequence[int], dim: int, remember: bool = False) -> None:
        super().__init__()
        if not num_clusters or min(num_clusters) < 2:
            raise ValueError(f'each clustering needs at least 2 clusters, got {num_clusters}')
        self.num_clusters = tuple(num_clusters)
        self.dim = dim
        self.remember = remember
        self.active = False
        self.register_buffer('labels', None)
        self.register_buffer('memory', None)
        self.register_buffer('centers', torch.zeros(sum(num_clusters), dim))
        self.register_buffer('concentration', torch.ones(sum(num_clusters)))

    def start(self, num_images: int) -> None:
        """Make room for ``num_images`` images, unless there is."""
        if self.labels is not None and self.labels.shape[1] == num_images:
            return
        device = self.centers.device
        self.labels = torch.full((len(self.num_clusters), num_images), -1, device=device)
        if self.remember:
            self.memory = self.centers.new_zeros(num_images, self.dim)

    @torch.no_grad()
    def keep(self, sample_idx: Tensor, rows: Tensor) -> None:
        """Remember rows (B, D) of the images with these numbers (B,), of all ranks."""
        self.memory[sample_idx] = rows.to(self.memory)

    @torch.no_grad()
    def enter(self, sample_idx: Tensor, rows: Tensor, labels: Sequence[Tensor]) -> None:
        """Take new clusters.

        Args:
            sample_idx (Tensor): Numbers of the images, shape (N,).
            rows (Tensor): Their rows, of unit norm, shape (N, D).
            labels (Sequence[Tensor]): Their clusters in each clustering, shape (N,) each; no
                cluster is empty.
        """
        if self.remember:
            self.keep(sample_idx, rows)
        self.labels.fill_(-1)
        centers, spreads = [], []
        for i, (own, count) in enumerate(zip(labels, self.num_clusters, strict=True)):
            self.labels[i, sample_idx] = own
            centers.append(cluster_centers(rows, own, count))
            spreads.append(concentration(rows, own, centers[-1]))
        self.centers.copy_(torch.cat(centers))
        self.concentration.copy_(torch.cat(spreads))

    def split(self) -> List[Tuple[Tensor, Tensor, Tensor]]:
        """Of each clustering labels (N,), centres (K, D) and concentration (K,)."""
        parts = (self.centers.split(self.num_clusters), self.concentration.split(self.num_clusters))
        return list(zip(self.labels, *parts, strict=True))

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        stored = state_dict.get(f'{prefix}labels')
        if self.labels is None and stored is not None:
            self.start(stored.shape[1])
        super()._load_from_state_dict(state_dict, prefix, *args)


def cluster_centers(rows: Tensor, labels: Tensor, num_clusters: int) -> Tensor:
    """Means of the rows of each cluster, scaled to unit norm.

    Args:
        rows (Tensor): Shape (N, D).
        labels (Tensor): Cluster of each, shape (N,).
        num_clusters (int): K.

    Returns:
        Tensor: Shape (K, D); zero for a cluster without rows.
    """
    sums = rows.new_zeros(num_clusters, rows.shape[1]).index_add(0, labels, rows)
    return F.normalize(sums, dim=1)


def concentration(rows: Tensor, labels: Tensor, centers: Tensor, smoothing: float = 10.0) -> Tensor:
    """How far the rows of each cluster are from its centre (phi of PCL, equation 12).

    The mean distance over the logarithm of the number of rows plus ``smoothing``, so that small
    clusters count as less concentrated. A cluster of one row has the largest value of all; all are
    clamped between the 10th and the 90th percentile.

    Args:
        rows (Tensor): Shape (N, D).
        labels (Tensor): Cluster of each, shape (N,).
        centers (Tensor): Shape (K, D).
        smoothing (float): Defaults to 10, the paper's.

    Returns:
        Tensor: Shape (K,), scaled to a mean of 1.
    """
    counts = torch.bincount(labels, minlength=len(centers)).to(rows)
    sums = torch.zeros_like(counts).index_add(0, labels, (rows - centers[labels]).norm(dim=1))
    phi = sums / counts.clamp(min=1) / torch.log(counts + smoothing)
    phi = torch.where(counts > 1, phi, phi.max())
    low, high = phi.quantile(phi.new_tensor([0.1, 0.9]))
    phi = phi.clamp(low, high)
    # Rows may be equal to their centres, and a temperature must not be zero.
    phi = phi.clamp_min(1e-6)
    return phi / phi.mean()
