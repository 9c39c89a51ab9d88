from typing import Dict, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from ..encoders import build_encoder
from ..layers import FeatureClusters
from ..losses import cluster_triplets
from ..utils import as_float
from .base import BaseClusterer


@MODELS.register_module()
class JULE(BaseClusterer):
    """Joint unsupervised learning: clusters are merged while features learn to tell them apart.

    :class:`AgglomerateHook` merges the clusters; the features learn by triplets
    (:func:`cluster_triplets`). An image is predicted by the nearest centre of K clusters.

    Implementation of `Joint Unsupervised Learning of Deep Representations and Image Clusters
    <https://arxiv.org/abs/1604.03628>`_ (CVPR 2016, section 3). Chosen here: a batch is any
    images, not whole clusters, so that with two views of them each has a positive; negatives are
    all rows of other clusters in the batch, of which the paper's code draws 20 (the nearest ones
    alone pull all features together); new images, which the paper does not cluster, go to the
    nearest centre. Merging holds matrices of all pairs of its first clusters, about a third as
    many as images: it is for small data.

    Args:
        num_clusters (int): K.
        backbone (dict): Config of an encoder or of any backbone, which is trained.
        embed_dim (int): Width of the embeddings. Defaults to 160, the paper's.
        margin (float): See :func:`cluster_triplets`. Defaults to 0.2, the paper's.
        gamma (float): See :func:`cluster_triplets`. Defaults to 1, that of the paper's code.
        data_preprocessor (dict, optional): Config of the preprocessor.

    Raises:
        ValueError: If the encoder is frozen, or a value is out of range.
    """

    needs: Tuple[str, ...] = ('view1', 'view2', 'sample_idx')
    embeddings: Tuple[str, ...] = ('z',)
    training_only: Tuple[str, ...] = ('feature_clusters.labels',)
    remedies = dict(
        largest_share='lower optim_wrapper.optimizer.lr',
        dead_clusters='lower optim_wrapper.optimizer.lr, or model.num_clusters',
    )

    def __init__(
        self,
        num_clusters: int,
        backbone: dict,
        embed_dim: int = 160,
        margin: float = 0.2,
        gamma: float = 1.0,
        data_preprocessor: Optional[Union[dict, nn.Module]] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        encoder = build_encoder(backbone)
        super().__init__(num_clusters, encoder, data_preprocessor, init_cfg)
        if encoder.frozen:
            raise ValueError('JULE trains its encoder, and this one is frozen')
        if embed_dim < 1:
            raise ValueError(f'embed_dim must be at least 1, got {embed_dim}')
        if margin < 0:
            raise ValueError(f'margin must not be negative, got {margin}')
        if gamma <= 0:
            raise ValueError(f'gamma must be above 0, got {gamma}')
        self.margin = margin
        self.gamma = gamma
        self.embedding = nn.Linear(encoder.feat_dim, embed_dim)
        self.feature_clusters = FeatureClusters([num_clusters], embed_dim)

    def prepare(self, num_images: int) -> None:
        """Make room for the clusters of the training images."""
        self.feature_clusters.start(num_images)

    def embed(self, rows: Tensor) -> Dict[str, Tensor]:
        """``z``: the embedding, of unit norm, which is clustered."""
        return dict(z=F.normalize(as_float(self.embedding(rows)), dim=1))

    def scores(self, rows: Tensor) -> Tensor:
        """Similarity of rows (B, D) to the centres, over 0.1, shape (B, K)."""
        return self.embed(rows)['z'] @ self.feature_clusters.centers.T / 0.1

    def loss(self, batch: Dict[str, Tensor]) -> Dict[str, Tensor]:
        """Triplets of both views.

        Args:
            batch (dict): ``view1`` and ``view2``, images (B, 3, H, W) each, B the same on every
                rank; ``sample_idx`` (B,).

        Returns:
            dict: ``loss_triplets``, see :func:`cluster_triplets`.
        """
        rows = torch.cat([self.encode(batch[name]) for name in ('view1', 'view2')])
        z = self.embed(rows)['z']
        labels = self.feature_clusters.labels[0, batch['sample_idx']].repeat(2)
        self.count_clusters((z.detach() @ self.feature_clusters.centers.T).argmax(dim=1))
        loss = cluster_triplets(z, labels, self.margin, self.gamma)
        return dict(loss_triplets=loss)
