from typing import Dict, Optional, Sequence, Tuple, Union

import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from ..encoders import build_encoder
from ..layers import FeatureClusters, project_rows
from ..utils import as_float, gather_rows
from .base import BaseClusterer


@MODELS.register_module()
class DeepClusterV2(BaseClusterer):
    """DeepCluster-v2: classifies each image by the k-means clusters of the epoch before.

    After each epoch the features that the epoch computed are clustered
    (:class:`FeatureClustersHook`), and their centres are the weights of a classifier that stays as
    it is for an epoch. Of several clusterings the first one predicts.

    Implementation of appendix E of `Unsupervised Learning of Visual Features by Contrasting Cluster
    Assignments <https://arxiv.org/abs/2006.09882>`_, which improves `Deep Clustering for
    Unsupervised Learning of Visual Features <https://arxiv.org/abs/1807.05520>`_, without
    multi-crop: two views.

    Args:
        num_clusters (int): K, of the clustering that predicts.
        backbone (dict): Config of an encoder or of any backbone, which is trained.
        neck (dict): Config of the projection MLP; its ``in_channels`` are the encoder's when not
            given.
        further_clusters (Sequence[int]): Numbers of clusters of further clusterings, which only
            help to learn the features. Defaults to none.
        temperature (float): Of the classifier. Defaults to 0.1, the paper's.
        data_preprocessor (dict, optional): Config of the preprocessor.

    Raises:
        ValueError: If the encoder is frozen, or a value is out of range.
    """

    needs: Tuple[str, ...] = ('view1', 'view2', 'sample_idx')
    embeddings: Tuple[str, ...] = ('z',)
    training_only: Tuple[str, ...] = ('feature_clusters.labels', 'feature_clusters.memory')
    remedies = dict(
        largest_share='lower optim_wrapper.optimizer.lr',
        dead_clusters='lower optim_wrapper.optimizer.lr, or model.num_clusters',
    )

    def __init__(
        self,
        num_clusters: int,
        backbone: dict,
        neck: dict,
        further_clusters: Sequence[int] = (),
        temperature: float = 0.1,
        data_preprocessor: Optional[Union[dict, nn.Module]] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        encoder = build_encoder(backbone)
        super().__init__(num_clusters, encoder, data_preprocessor, init_cfg)
        if encoder.frozen:
            raise ValueError('DeepClusterV2 trains its encoder, and this one is frozen')
        if temperature <= 0:
            raise ValueError(f'temperature must be above 0, got {temperature}')
        self.neck = MODELS.build({'in_channels': encoder.feat_dim, **neck})
        self.temperature = temperature
        self.feature_clusters = FeatureClusters(
            [num_clusters, *further_clusters], neck['out_channels'], remember=True
        )

    def prepare(self, num_images: int) -> None:
        """Make room for the clusters and the features of the training images."""
        self.feature_clusters.start(num_images)

    def embed(self, rows: Tensor) -> Dict[str, Tensor]:
        """``z``: the projection, of unit norm, which is clustered."""
        return dict(z=F.normalize(as_float(project_rows(self.neck, rows)), dim=1))

    def scores(self, rows: Tensor) -> Tensor:
        """Similarity of rows (B, D) to the centres, over the temperature, shape (B, K)."""
        centers = self.feature_clusters.centers[: self.num_clusters]
        return self.embed(rows)['z'] @ centers.T / self.temperature

    def loss(self, batch: Dict[str, Tensor]) -> Dict[str, Tensor]:
        """Cross-entropy of both views to the clusters of their image; keeps the first one's row.

        Args:
            batch (dict): ``view1`` and ``view2``, images (B, 3, H, W) each, B the same on every
                rank; ``sample_idx`` (B,).

        Returns:
            dict: ``loss_cluster``, the mean over clusterings and views.
        """
        index = batch['sample_idx']
        rows = [self.embed(self.encode(batch[name]))['z'] for name in ('view1', 'view2')]
        losses = [
            F.cross_entropy(z @ centers.T / self.temperature, labels[index])
            for labels, centers, _ in self.feature_clusters.split()
            for z in rows
        ]
        own = self.feature_clusters.centers[: self.num_clusters]
        self.count_clusters((rows[0].detach() @ own.T).argmax(dim=1))
        self.feature_clusters.keep(gather_rows(index), gather_rows(rows[0]))
        return dict(loss_cluster=sum(losses) / len(losses))
