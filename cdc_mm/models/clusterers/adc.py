from typing import Dict, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from ..losses import association
from ..utils import as_float
from .base import BaseClusterer, build_backbone, width_of_rows


@MODELS.register_module()
class ADC(BaseClusterer):
    """Associative deep clustering: centroids are learned that images are associated with.

    Walks from centroids to images and back end where they began (:func:`association`), for both
    views, and both views are associated with the same centroids. The cluster of an image is the
    centroid that it is associated with.

    Implementation of `Associative Deep Clustering: Training a Classification Network with no
    Labels <https://doi.org/10.1007/978-3-030-12939-2_2>`_ (GCPR 2018).
    There a linear layer, learned on the centroids, says the cluster; on the digits it gave most
    images the same one, whatever they were associated with. Chosen here, where the paper leaves it
    open or to its code: one centroid a cluster, all losses from the first step, walks to both views
    in place of walks between them.

    Args:
        num_clusters (int): K.
        backbone (dict, optional): Config of an encoder or of any backbone; None takes rows.
        in_channels (int, optional): D, the width of the rows; the encoder's when not given.
        embed_dim (int): E, the width of embeddings and centroids. Defaults to 128, the paper's.
        visit_weight (float): Weight of the visit loss. Defaults to 1.
        transform_weight (float): Weight of the agreement of both views. Defaults to 1.
        data_preprocessor (dict, optional): Config of the preprocessor.

    Raises:
        ValueError: If nothing says how wide rows are, or a value is out of range.
    """

    embeddings: Tuple[str, ...] = ('z',)
    remedies = dict(
        largest_share='raise model.visit_weight, or lower optim_wrapper.optimizer.lr',
        dead_clusters='raise model.visit_weight, or lower model.num_clusters',
    )

    def __init__(
        self,
        num_clusters: int,
        backbone: Optional[dict] = None,
        in_channels: Optional[int] = None,
        embed_dim: int = 128,
        visit_weight: float = 1.0,
        transform_weight: float = 1.0,
        data_preprocessor: Optional[Union[dict, nn.Module]] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        encoder = build_backbone(backbone)
        super().__init__(num_clusters, encoder, data_preprocessor, init_cfg)
        width = width_of_rows(type(self), encoder, in_channels)
        if embed_dim < 1:
            raise ValueError(f'embed_dim must be at least 1, got {embed_dim}')
        for name, value in (
            ('visit_weight', visit_weight),
            ('transform_weight', transform_weight),
        ):
            if value < 0:
                raise ValueError(f'{name} must not be negative, got {value}')
        self.visit_weight = visit_weight
        self.transform_weight = transform_weight
        self.embedding = nn.Linear(width, embed_dim)
        self.centroids = nn.Parameter(torch.randn(num_clusters, embed_dim) / embed_dim**0.5)

    def scores(self, rows: Tensor) -> Tensor:
        """Products of embeddings and centroids for rows (B, D), shape (B, K)."""
        return self._scores(self.embedding(rows))

    def _scores(self, z: Tensor) -> Tensor:
        return as_float(z) @ as_float(self.centroids).T

    def embed(self, rows: Tensor) -> Dict[str, Tensor]:
        """``z``: the embedding, not of unit norm."""
        return dict(z=self.embedding(rows))

    def loss(self, batch: Dict[str, Tensor]) -> Dict[str, Tensor]:
        """Associations with both views, and the agreement of these.

        Args:
            batch (dict): ``view1`` and ``view2``, images (B, 3, H, W) or rows (B, D) each.

        Returns:
            dict: ``loss_walker`` and ``loss_visit``, see :func:`association`, the mean over the
            views; ``loss_transform``, 1 minus the cosine of both views' probabilities, in [0, 1];
            weights applied.
        """
        views = self.embedding(torch.cat([self.encode(batch[n]) for n in self.needs])).chunk(2)
        walker, visit = zip(*(association(self.centroids, z) for z in views))
        scores = [self._scores(z) for z in views]
        self.count_clusters(scores[0].argmax(dim=1))
        agreement = F.cosine_similarity(*(x.softmax(dim=1) for x in scores)).mean()
        return dict(
            loss_walker=sum(walker) / 2,
            loss_visit=self.visit_weight * sum(visit) / 2,
            loss_transform=self.transform_weight * (1 - agreement),
        )
