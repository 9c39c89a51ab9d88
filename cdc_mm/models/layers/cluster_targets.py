from typing import Optional

import torch
from torch import Tensor, nn


class ClusterTargets(nn.Module):
    """Clusters of the training images that training takes as targets, by the image's number.

    It holds nothing until :meth:`start`; from then on its labels are state that a checkpoint keeps.

    Args:
        num_clusters (int): K.

    Attributes:
        labels (Tensor): Cluster of each image, -1 for none, shape (N,), a buffer.
        smoothing (float): Share of a target that is spread evenly over all clusters, in [0, 1).
        active (bool): Whether training shall use them.
    """

    def __init__(self, num_clusters: int) -> None:
        super().__init__()
        self.num_clusters = num_clusters
        self.smoothing = 0.0
        self.active = False
        self.register_buffer('labels', None)

    def start(self, num_images: int, device: torch.device) -> None:
        """Begin without a label for any of ``num_images`` images."""
        self.labels = torch.full((num_images,), -1, device=device)

    def forward(self, sample_idx: Tensor) -> Optional[Tensor]:
        """Targets of a batch.

        Args:
            sample_idx (Tensor): Numbers of its images, shape (B,).

        Returns:
            Tensor: Shape (B, K); rows sum to 1, or to 0 for an image without a label.
        """
        labels = self.labels[sample_idx]
        known = (labels >= 0)[:, None]
        one_hot = nn.functional.one_hot(labels.clamp(min=0), self.num_clusters).float()
        return known * ((1 - self.smoothing) * one_hot + self.smoothing / self.num_clusters)
