from typing import Dict, List, Optional, Tuple

import torch
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from ..encoders import pool_features
from .autoencoder import AutoEncoder
from .functional import gaussian_divergence, reconstruction_error


@MODELS.register_module()
class GaussianNeck(BaseModule):
    """Mean and log-variance of the latents of an image, linear in its row of features.

    Args:
        in_channels (int): D.
        out_channels (int): L, the number of latents.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, 2 * out_channels)

    def forward(self, features: Tuple[Tensor]) -> Tuple[Tensor, Tensor]:
        """Feature maps (B, D, h, w) in a tuple to mean and log-variance, (B, L) each."""
        return self.linear(pool_features(features)).chunk(2, dim=1)


@MODELS.register_module()
class VariationalAutoEncoder(AutoEncoder):
    """The variational autoencoder: row "AEVB" of Table 1.

    Minus the lower bound of `Auto-Encoding Variational Bayes <https://arxiv.org/abs/1312.6114>`_
    (equation 10, one draw an image). Chosen here, where the CDC paper says nothing: a decoder of
    unit variance for standardised pixels. Its rows are the encoder's, its ``z`` the mean of the
    latents.

    Args:
        neck (dict): Config of a :class:`GaussianNeck`, whose latents the decoder takes.
        **kwargs: See :class:`AutoEncoder`.
    """

    def __init__(self, neck: dict, **kwargs) -> None:
        super().__init__(**kwargs)
        self.neck = MODELS.build(neck)

    def loss(
        self, inputs: List[Tensor], data_samples: Optional[List[DataSample]] = None
    ) -> Dict[str, Tensor]:
        """Both terms of the bound; see :meth:`AutoEncoder.loss`.

        Returns:
            dict: ``loss_reconstruction`` and ``loss_divergence``.
        """
        mean, log_variance = self.neck(self.backbone(inputs[0]))
        latents = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return dict(
            loss_reconstruction=reconstruction_error(self.decoder(latents), inputs[0]),
            loss_divergence=gaussian_divergence(mean, log_variance),
        )
