from typing import Dict

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn


class PseudoLabels(nn.Module):
    """The pseudo-label of every training image, by its index; state that survives resume.

    Args:
        num_images (int): N, the images of the data set.
        num_clusters (int): K.
    """

    def __init__(self, num_images: int, num_clusters: int) -> None:
        super().__init__()
        self.num_clusters = num_clusters
        # -1: not confident, or not seen yet.
        self.register_buffer('current', torch.full((num_images,), -1))
        self.register_buffer('previous', torch.full((num_images,), -1))

    def record(self, index: Tensor, labels: Tensor) -> None:
        """Note the labels of a batch.

        Args:
            index (Tensor): ``sample_idx`` of its images, shape (B,).
            labels (Tensor): Their pseudo-labels, shape (B,), -1 where not confident.
        """
        self.current.index_copy_(0, index, labels)

    def finish_epoch(self) -> Dict[str, float]:
        """Join what the ranks saw, compare with the epoch before, and start anew.

        Returns:
            dict: ``confident_share`` of the data set; ``dead_clusters``, without a confident
            image; ``flips``, the share of images with another label than they last had, among
            those that have both.
        """
        all_reduce(self.current, op='max')
        confident = self.current >= 0
        both = confident & (self.previous >= 0)
        flips = (self.current != self.previous) & both
        used = torch.zeros(self.num_clusters, dtype=torch.bool, device=self.current.device)
        used[self.current[confident]] = True
        summary = dict(
            confident_share=confident.float().mean().item(),
            dead_clusters=int((~used).sum()),
            flips=(flips.sum() / both.sum().clamp(min=1)).item(),
        )
        self.previous = torch.where(confident, self.current, self.previous)
        self.current = torch.full_like(self.current, -1)
        return summary
