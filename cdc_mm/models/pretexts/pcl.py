from typing import Dict, List, Sequence

import torch
import torch.nn.functional as F
from mmpretrain.models import MoCo
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from ..layers import FeatureClusters
from ..losses import proto_nce


@MODELS.register_module()
class PCL(MoCo):
    """Prototypical contrastive learning, version 2: MoCo v2 and a contrast with prototypes.

    After each epoch the momentum encoder's features are clustered several times
    (:class:`FeatureClustersHook`); a query shall be close to the centres of its clusters. It learns
    features; clusters are those of k-means on them.

    Implementation of `Prototypical Contrastive Learning of Unsupervised Representations
    <https://arxiv.org/abs/2005.04966>`_ (equation 11) on mmpretrain's ``MoCo``. All prototypes of a
    clustering are negatives; the public code draws 16,384 of them.

    Args:
        num_prototypes (Sequence[int]): K of each clustering. The paper: 25,000, 50,000 and 100,000.
        temperature (float): Mean over a clustering of the temperatures of its prototypes. Defaults
            to 0.2, as of InfoNCE in version 2.
        **kwargs: See mmpretrain's ``MoCo``.

    Raises:
        ValueError: If a value is out of range.
    """

    def __init__(
        self, *args, num_prototypes: Sequence[int], temperature: float = 0.2, **kwargs
    ) -> None:
        super().__init__(*args, **kwargs)
        if temperature <= 0:
            raise ValueError(f'temperature must be above 0, got {temperature}')
        self.temperature = temperature
        self.feature_clusters = FeatureClusters(num_prototypes, len(self.queue))

    @property
    def clustered(self) -> nn.Module:
        """The momentum encoder, whose features are clustered, as a model of its own."""
        model = nn.Module()
        model.data_preprocessor = self.data_preprocessor
        model.backbone, model.neck = self.encoder_k.module
        return model

    def loss(
        self, inputs: List[Tensor], data_samples: List[DataSample], **kwargs
    ) -> Dict[str, Tensor]:
        """MoCo's loss, and once the clusters are in use the contrast with prototypes.

        Args:
            inputs (list): Two views of the images, (B, 3, H, W) each.
            data_samples (list): With the numbers of the images, ``sample_idx``.
            **kwargs: Not looked at.

        Returns:
            dict: ``loss``, MoCo's, and ``loss_prototypes``, see :func:`proto_nce`, the mean over
            the clusterings.
        """
        queries = []
        # MoCo's loss does not give away the queries, which are all that passes its own neck.
        hook = self.neck.register_forward_hook(lambda neck, given, out: queries.append(out[0]))
        try:
            losses = super().loss(inputs, data_samples, **kwargs)
        finally:
            hook.remove()
        if self.feature_clusters.active:
            query = F.normalize(queries[0], dim=1)
            index = torch.tensor([sample.sample_idx for sample in data_samples])
            contrasts = [
                proto_nce(
                    query,
                    centers,
                    labels[index.to(labels.device)],
                    self.temperature * concentration,
                )
                for labels, centers, concentration in self.feature_clusters.split()
            ]
            losses['loss_prototypes'] = sum(contrasts) / len(contrasts)
        return losses
