from itertools import pairwise
from typing import Dict, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from ..losses import student_t_scores
from ..utils import as_float
from .base import BaseClusterer, build_backbone, width_of_rows


@MODELS.register_module()
class DEC(BaseClusterer):
    """Deep embedded clustering, and IDEC: an autoencoder whose codes are drawn to centres.

    First the autoencoder learns to reconstruct. Then the clusters start as those of k-means on the
    codes, and the codes move to the sharpened target of their own soft clusters. DEC gives up the
    decoder for that, IDEC keeps it. :class:`DECHook` says when; a training without it only
    reconstructs.

    Implementation of `Unsupervised Deep Embedding for Clustering Analysis
    <https://arxiv.org/abs/1511.06335>`_ (ICML 2016), pretrained as a whole and not layer by layer,
    and of `Improved Deep Embedded Clustering with Local Structure Preservation
    <https://www.ijcai.org/proceedings/2017/243>`_ (IJCAI 2017).

    Rows, or the pixels of images where there is no backbone, are scaled by one factor, so that
    their mean square is 1 (:class:`FitRowsHook`).

    Args:
        num_clusters (int): K.
        backbone (dict, optional): Config of an encoder or of any backbone, frozen; None takes rows,
            and images by their pixels.
        in_channels (int, optional): D, the width of the rows, or how many values an image has; the
            encoder's when not given.
        widths (Sequence[int]): Of the hidden layers. Defaults to (500, 500, 2000), the paper's.
        code_dim (int): Width of the codes. Defaults to 10, the paper's.
        gamma (float, optional): Weight of the clustering beside the reconstruction (IDEC, equation
            6: 0.1). Defaults to None: clustering alone (DEC).
        data_preprocessor (dict, optional): Config of the preprocessor.

    Raises:
        ValueError: If nothing says how wide rows are, or a value is out of range.

    Attributes:
        pretraining (bool): Whether reconstruction is all. Set by :class:`DECHook`.
        soft_targets (Tensor): p of each training image, a buffer (N, K); None before
            :meth:`prepare`.
    """

    needs: Tuple[str, ...] = ('view1', 'sample_idx')
    embeddings: Tuple[str, ...] = ('code',)
    training_only: Tuple[str, ...] = ('decoder.', 'soft_targets')
    remedies = dict(
        largest_share='pretrain longer, or lower optim_wrapper.optimizer.lr',
        dead_clusters='pretrain longer, or lower optim_wrapper.optimizer.lr',
    )

    def __init__(
        self,
        num_clusters: int,
        backbone: Optional[dict] = None,
        in_channels: Optional[int] = None,
        widths: Sequence[int] = (500, 500, 2000),
        code_dim: int = 10,
        gamma: Optional[float] = None,
        data_preprocessor: Optional[Union[dict, nn.Module]] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        encoder = build_backbone(backbone)
        super().__init__(num_clusters, encoder, data_preprocessor, init_cfg)
        in_channels = width_of_rows(type(self), encoder, in_channels)
        if code_dim < 1:
            raise ValueError(f'code_dim must be at least 1, got {code_dim}')
        if gamma is not None and gamma <= 0:
            raise ValueError(f'gamma must be above 0, or None for DEC, got {gamma}')
        self.gamma = gamma
        self.pretraining = True
        layers = [in_channels, *widths, code_dim]
        self.coder = _mlp(layers)
        self.decoder = _mlp(layers[::-1])
        self.centers = nn.Parameter(torch.zeros(num_clusters, code_dim))
        self.register_buffer('scale', torch.ones(()))
        self.register_buffer('soft_targets', None)

    def prepare(self, num_images: int) -> None:
        """Make room for the targets of the training images."""
        if self.soft_targets is None or len(self.soft_targets) != num_images:
            self.soft_targets = self.centers.new_zeros(num_images, self.num_clusters)

    def fit_rows(self, rows: np.ndarray) -> None:
        """Find the factor that makes the mean square of the training rows (N, D) 1.

        Raises:
            ValueError: If all values are 0.
        """
        size = float(np.sqrt(np.square(rows, dtype=np.float64).mean()))
        if size == 0:
            raise ValueError('all values are 0')
        self.scale.fill_(1 / size)

    def encode(self, inputs: Tensor) -> Tensor:
        """As :meth:`BaseClusterer.encode`; images are their pixels where there is no encoder."""
        return inputs.flatten(1) if self.encoder is None else super().encode(inputs).detach()

    def codes(self, rows: Tensor) -> Tensor:
        """Codes of rows (B, D), shape (B, code_dim)."""
        return as_float(self.coder(self.scale * rows))

    def embed(self, rows: Tensor) -> Dict[str, Tensor]:
        """``code``: the codes."""
        return dict(code=self.codes(rows))

    def scores(self, rows: Tensor) -> Tensor:
        """Scores of rows (B, D) by their codes' distances to the centres, shape (B, K)."""
        return student_t_scores(self.codes(rows), self.centers)

    def loss(self, batch: Dict[str, Tensor]) -> Dict[str, Tensor]:
        """Reconstruction in pretraining; then the divergence of q from its target, or both.

        Args:
            batch (dict): ``view1``, images (B, C, H, W) or rows (B, D); ``sample_idx`` (B,).

        Returns:
            dict: ``loss_reconstruction``, the mean squared error, and ``loss_cluster``, KL(p || q),
            the mean over the images, with IDEC's weight; each when it is in use.
        """
        rows = self.encode(batch['view1'])
        codes = self.codes(rows)
        losses = {}
        if self.pretraining or self.gamma is not None:
            error = as_float(self.decoder(codes)) - self.scale * rows
            losses['loss_reconstruction'] = error.square().mean()
        if not self.pretraining:
            log_q = student_t_scores(codes, self.centers).log_softmax(dim=1)
            self.count_clusters(log_q.argmax(dim=1))
            divergence = nn.functional.kl_div(
                log_q, self.soft_targets[batch['sample_idx']], reduction='batchmean'
            )
            losses['loss_cluster'] = (self.gamma or 1) * divergence
        return losses


def _mlp(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers = []
    for width, following in pairwise(widths):
        layers += [nn.Linear(width, following), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
