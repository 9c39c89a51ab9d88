from typing import Dict, Optional, Tuple, Union

import torch
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from ..encoders import build_encoder
from ..layers import FeatureClusters, MomentumEncoder, project_rows
from ..losses import positive_alignment, prototype_scattering
from .base import BaseClusterer


@MODELS.register_module()
class ProPos(BaseClusterer):
    """Prototype scattering and positive sampling: BYOL whose clusters keep apart.

    An encoder and its momentum encoder ("target"), as in BYOL. After each epoch k-means on the
    target's features says what the clusters are (:class:`FeatureClustersHook`), and the prototypes
    of the clusters in a batch are scattered. The target predicts, by its nearest centre.

    Implementation of `Learning Representation for Clustering via Prototype Scattering and Positive
    Sampling <https://arxiv.org/abs/2111.11821>`_ (section 3), of both directions of each pair.

    Args:
        num_clusters (int): K.
        backbone (dict): Config of an encoder or of any backbone, which is trained.
        neck (dict): Config of the projection MLP; its ``in_channels`` are the encoder's when not
            given.
        predictor (dict): Config of the MLP that predicts the target's projection.
        scattering_weight (float): Weight of the prototype scattering. Defaults to 0.1, the paper's.
        latent_std (float): Standard deviation of the noise that samples positives around a
            projection, once the clusters are in use. Defaults to 0.001, the paper's.
        temperature (float): Of the prototypes. Defaults to 0.5, the paper's.
        momentum (float): Share of the target that a step keeps, in [0, 1]. Defaults to 0.996, the
            paper's.
        data_preprocessor (dict, optional): Config of the preprocessor.

    Raises:
        ValueError: If the encoder is frozen, or a value is out of range.
    """

    needs: Tuple[str, ...] = ('view1', 'view2', 'sample_idx')
    embeddings: Tuple[str, ...] = ('z',)
    training_only: Tuple[str, ...] = ('predictor.', 'feature_clusters.labels')
    remedies = dict(
        largest_share='lower optim_wrapper.optimizer.lr, or raise model.scattering_weight',
        dead_clusters='lower optim_wrapper.optimizer.lr, or model.num_clusters',
    )

    def __init__(
        self,
        num_clusters: int,
        backbone: dict,
        neck: dict,
        predictor: dict,
        scattering_weight: float = 0.1,
        latent_std: float = 0.001,
        temperature: float = 0.5,
        momentum: float = 0.996,
        data_preprocessor: Optional[Union[dict, nn.Module]] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        encoder = build_encoder(backbone)
        super().__init__(num_clusters, encoder, data_preprocessor, init_cfg)
        if encoder.frozen:
            raise ValueError('ProPos trains its encoder, and this one is frozen')
        for name, value in (('scattering_weight', scattering_weight), ('latent_std', latent_std)):
            if value < 0:
                raise ValueError(f'{name} must not be negative, got {value}')
        if temperature <= 0:
            raise ValueError(f'temperature must be above 0, got {temperature}')
        if not 0 <= momentum <= 1:
            raise ValueError(f'momentum must be between 0 and 1, got {momentum}')
        self.neck = MODELS.build({'in_channels': encoder.feat_dim, **neck})
        width = neck['out_channels']
        self.predictor = MODELS.build({'in_channels': width, 'out_channels': width, **predictor})
        self.scattering_weight = scattering_weight
        self.latent_std = latent_std
        self.temperature = temperature
        self.momentum = momentum
        self.target = MomentumEncoder(dict(encoder=encoder, neck=self.neck))
        self.feature_clusters = FeatureClusters([num_clusters], width)

    def init_weights(self) -> None:
        """Initialise the encoder and copy it into the target."""
        super().init_weights()
        self.target.copy_from(self)

    def prepare(self, num_images: int) -> None:
        """Make room for the clusters of the training images."""
        self.feature_clusters.start(num_images)

    def encode(self, inputs: Tensor) -> Tensor:
        """Rows (B, D) of images (B, 3, H, W) by the target; rows (B, D) stay as they are."""
        return inputs if inputs.ndim == 2 else self.target.encoder(inputs)

    def embed(self, rows: Tensor) -> Dict[str, Tensor]:
        """``z``: the target's projection, of unit norm, which is clustered."""
        return dict(z=nn.functional.normalize(project_rows(self.target.neck, rows), dim=1))

    def scores(self, rows: Tensor) -> Tensor:
        """Similarity of rows (B, D) to the centres, over the temperature, shape (B, K)."""
        return self.embed(rows)['z'] @ self.feature_clusters.centers.T / self.temperature

    def loss(self, batch: Dict[str, Tensor]) -> Dict[str, Tensor]:
        """Alignment and scattering of two views, and one step of the target.

        Args:
            batch (dict): ``view1`` and ``view2``, images (B, 3, H, W) each, B the same on every
                rank; ``sample_idx`` (B,).

        Returns:
            dict: ``loss_alignment``, see :func:`positive_alignment`, and once the clusters are in
            use ``loss_scattering``, weighted, see :func:`prototype_scattering`: of both directions
            the mean.
        """
        self.target.update(self, self.momentum)
        views = [batch['view1'], batch['view2']]
        queries = [project_rows(self.neck, self.encoder(view)) for view in views]
        with torch.no_grad():
            rows = [self.encode(view) for view in views]
            keys = [project_rows(self.target.neck, own) for own in rows]
            self.count_clusters(self._nearest(keys[0]))
        pairs = [(queries[0], keys[1]), (queries[1], keys[0])]
        active = self.feature_clusters.active
        noise = self.latent_std if active else 0.0
        alignment = [
            positive_alignment(
                project_rows(self.predictor, query + noise * torch.randn_like(query)), key
            )
            for query, key in pairs
        ]
        losses = dict(loss_alignment=sum(alignment) / 2)
        if active:
            labels = self.feature_clusters.labels[0, batch['sample_idx']]
            scattering = [
                prototype_scattering(query, key, labels, self.temperature) for query, key in pairs
            ]
            losses['loss_scattering'] = self.scattering_weight * sum(scattering) / 2
        return losses

    def _nearest(self, key: Tensor) -> Tensor:
        """Clusters (B,) of the target's projections (B, D)."""
        return (key @ self.feature_clusters.centers.T).argmax(dim=1)
