from typing import Dict, Optional, Tuple, Union

import torch
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from ..losses import mutual_information
from .base import build_backbone, width_of_rows
from .ensemble import EnsembleClusterer


@MODELS.register_module()
class IIC(EnsembleClusterer):
    """Invariant information clustering: the clusters of two views tell the most of each other.

    Several linear heads, of which the one of least loss predicts, and as many heads with more
    clusters ("auxiliary over-clustering"), which only help to learn the features.

    Implementation of `Invariant Information Clustering for Unsupervised Image Classification and
    Segmentation <https://arxiv.org/abs/1807.06653>`_ (section 3). There the two kinds of heads take
    turns by epoch; here every step has both.

    Args:
        num_clusters (int): K.
        backbone (dict, optional): Config of an encoder or of any backbone; None takes rows.
        in_channels (int, optional): D, the width of the rows; the encoder's when not given.
        num_heads (int): How many heads of each kind. Defaults to 5, the paper's.
        num_overclusters (int, optional): Clusters of the auxiliary heads, more than K. Defaults to
            7 K, the paper's for CIFAR-10 (70).
        data_preprocessor (dict, optional): Config of the preprocessor.

    Raises:
        ValueError: If nothing says how wide rows are, or a value is out of range.
    """

    training_only: Tuple[str, ...] = ('overclusters.',)
    remedies = dict(
        largest_share='lower optim_wrapper.optimizer.lr',
        dead_clusters='lower optim_wrapper.optimizer.lr, or model.num_clusters',
    )

    def __init__(
        self,
        num_clusters: int,
        backbone: Optional[dict] = None,
        in_channels: Optional[int] = None,
        num_heads: int = 5,
        num_overclusters: Optional[int] = None,
        data_preprocessor: Optional[Union[dict, nn.Module]] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        encoder = build_backbone(backbone)
        super().__init__(num_clusters, num_heads, encoder, data_preprocessor, init_cfg)
        width = width_of_rows(type(self), encoder, in_channels)
        more = 7 * num_clusters if num_overclusters is None else num_overclusters
        if more <= num_clusters:
            raise ValueError(
                f'num_overclusters must be above num_clusters={num_clusters}, got {more}'
            )
        # All heads of a kind in one product.
        self.clusters = nn.Linear(width, num_heads * num_clusters)
        self.overclusters = nn.Linear(width, num_heads * more)

    def head_scores(self, rows: Tensor) -> Tensor:
        """Scores of every head for rows (B, D), shape (H, B, K)."""
        return self._by_head(self.clusters(rows))

    def _by_head(self, scores: Tensor) -> Tensor:
        return scores.view(len(scores), self.num_heads, -1).transpose(0, 1)

    def loss(self, batch: Dict[str, Tensor]) -> Dict[str, Tensor]:
        """The mean over the heads of minus the mutual information.

        Args:
            batch (dict): ``view1`` and ``view2``, images (B, 3, H, W) or rows (B, D) each.

        Returns:
            dict: ``loss_cluster``, in [-ln K, 0], ``loss_overcluster``, and ``best_objective``, the
            least of ``losses``.
        """
        rows = torch.cat([self.encode(batch[name]) for name in self.needs])
        scores, other_scores = self.head_scores(rows).chunk(2, dim=1)
        losses = -mutual_information(scores, other_scores)
        more = -mutual_information(*self._by_head(self.overclusters(rows)).chunk(2, dim=1))
        best = self.track(losses)
        self.count_clusters(scores[self.losses.argmin()].argmax(dim=1))
        return dict(loss_cluster=losses.mean(), loss_overcluster=more.mean(), best_objective=best)
