from typing import Dict, List, Optional, Tuple

import torch
from mmengine.model import BaseModule
from mmpretrain.models import BaseSelfSupervisor
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from ..encoders import pool_features
from .functional import relative_comparisons


@MODELS.register_module()
class DiagonalMetric(BaseModule):
    """Rows whose squared distances are weighted by w, one weight >= 0 a dimension, at first 1.

    Args:
        in_channels (int): D.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.root = nn.Parameter(torch.ones(in_channels))  # of w, which is thus not negative

    def forward(self, features: Tuple[Tensor]) -> Tuple[Tensor]:
        """Feature maps (B, D, h, w) in a tuple to rows (B, D) in a tuple."""
        return (self.root * pool_features(features),)


@MODELS.register_module()
class Triplets(BaseSelfSupervisor):
    """Learns which of two images a third is closer to: row "Triplets" of Table 1.

    `Learning a Distance Metric from Relative Comparisons
    <https://papers.nips.cc/paper/2366-learning-a-distance-metric-from-relative-comparisons>`_: a
    diagonal metric and the hinge of its constraints (:func:`relative_comparisons`); its
    regulariser, the squared norm of the weights, is the optimiser's weight decay. There the
    comparisons are given by people, and the features are fixed. Chosen here, where the CDC paper
    says nothing: a view of an image is closer to another view of it than to a view of any other
    image of the batch, and the features are learned with the metric.

    Args:
        backbone (dict): Config of the network.
        neck (dict): Config of a :class:`DiagonalMetric`.
        **kwargs: See mmpretrain's ``BaseSelfSupervisor``.
    """

    def loss(
        self, inputs: List[Tensor], data_samples: Optional[List[DataSample]] = None
    ) -> Dict[str, Tensor]:
        """The hinge over the comparisons of the batch.

        Args:
            inputs (list): Two views of the images, (B, C, H, W) each.
            data_samples (list, optional): Not looked at.

        Returns:
            dict: ``loss``, see :func:`relative_comparisons`.
        """
        anchor, near = (self.neck(self.backbone(view))[0] for view in inputs)
        return dict(loss=relative_comparisons(anchor, near))
