from typing import Dict, Optional, Tuple, Union

import torch
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from ..losses import cluster_contrast, instance_contrast
from .base import BaseClusterer, build_backbone, width_of_rows


@MODELS.register_module()
class ContrastiveClustering(BaseClusterer):
    """Contrastive clustering (CC): one head contrasts images, another one clusters.

    Implementation of `Contrastive Clustering <https://arxiv.org/abs/2009.09687>`_ (AAAI 2021,
    section 3). Both heads are MLPs of one hidden layer.

    Args:
        num_clusters (int): K.
        backbone (dict, optional): Config of an encoder or of any backbone; None takes rows.
        in_channels (int, optional): D, the width of the rows; the encoder's when not given.
        hidden_channels (int, optional): Width of the hidden layers. Defaults to D, as in the paper.
        instance_dim (int): Width of what the first head contrasts. Defaults to 128, the paper's.
        instance_temperature (float): Defaults to 0.5, the paper's.
        cluster_temperature (float): Defaults to 1, the paper's.
        data_preprocessor (dict, optional): Config of the preprocessor.

    Raises:
        ValueError: If nothing says how wide rows are, or a value is out of range.
    """

    embeddings: Tuple[str, ...] = ('z',)
    remedies = dict(
        largest_share='lower optim_wrapper.optimizer.lr',
        dead_clusters='lower optim_wrapper.optimizer.lr, or model.num_clusters',
    )

    def __init__(
        self,
        num_clusters: int,
        backbone: Optional[dict] = None,
        in_channels: Optional[int] = None,
        hidden_channels: Optional[int] = None,
        instance_dim: int = 128,
        instance_temperature: float = 0.5,
        cluster_temperature: float = 1.0,
        data_preprocessor: Optional[Union[dict, nn.Module]] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        encoder = build_backbone(backbone)
        super().__init__(num_clusters, encoder, data_preprocessor, init_cfg)
        width = width_of_rows(type(self), encoder, in_channels)
        if instance_dim < 1:
            raise ValueError(f'instance_dim must be at least 1, got {instance_dim}')
        for name, value in (
            ('instance_temperature', instance_temperature),
            ('cluster_temperature', cluster_temperature),
        ):
            if not value > 0:
                raise ValueError(f'{name} must be above 0, got {value}')
        self.instance_temperature = instance_temperature
        self.cluster_temperature = cluster_temperature
        hidden = hidden_channels or width
        self.instance_head = _mlp(width, hidden, instance_dim)
        self.cluster_head = _mlp(width, hidden, num_clusters)

    def scores(self, rows: Tensor) -> Tensor:
        """Scores of the clusters for rows (B, D), shape (B, K)."""
        return self.cluster_head(rows)

    def embed(self, rows: Tensor) -> Dict[str, Tensor]:
        """``z``: what the head of the images contrasts, of unit norm."""
        return dict(z=nn.functional.normalize(self.instance_head(rows), dim=1))

    def loss(self, batch: Dict[str, Tensor]) -> Dict[str, Tensor]:
        """Both contrasts, of the global batch.

        Args:
            batch (dict): ``view1`` and ``view2``, images (B, 3, H, W) or rows (B, D) each.

        Returns:
            dict: ``loss_instance``, see :func:`instance_contrast`, and ``loss_cluster``, see
            :func:`cluster_contrast`.
        """
        rows = torch.cat([self.encode(batch[name]) for name in self.needs])
        scores, other_scores = self.scores(rows).chunk(2)
        self.count_clusters(scores.argmax(dim=1))
        return dict(
            loss_instance=instance_contrast(
                *self.instance_head(rows).chunk(2), self.instance_temperature
            ),
            loss_cluster=cluster_contrast(scores, other_scores, self.cluster_temperature),
        )


def _mlp(in_channels: int, hidden_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(in_channels, hidden_channels),
        nn.ReLU(),
        nn.Linear(hidden_channels, out_channels),
    )
