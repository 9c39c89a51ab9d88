from typing import Dict, Optional, Tuple, Union

import torch
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from ..layers import MomentumEncoder, Standardize
from ..losses import temi_loss
from ..utils import as_float, mean_over_ranks
from .base import build_backbone, width_of_rows
from .ensemble import EnsembleClusterer

_KEEP_PRIOR = 0.9


@MODELS.register_module()
class TEMI(EnsembleClusterer):
    """Teacher ensemble-weighted pointwise mutual information, on the rows of a frozen network.

    Students and their moving averages, the teachers, shall find the same for an image and one of
    its nearest neighbours; see :func:`temi_loss`. The teacher of least loss predicts.

    Implementation of `Exploring the Limits of Deep Image Clustering using Pretrained Models
    <https://arxiv.org/abs/2303.17896>`_ (BMVC 2023). Rows are standardised, as those of an encoder
    that was trained elsewhere have any scale.

    Args:
        num_clusters (int): K.
        backbone (dict, optional): Config of an encoder or of any backbone; None takes rows.
        in_channels (int, optional): D, the width of the rows; the encoder's when not given.
        num_heads (int): How many heads. Defaults to 16.
        beta (float): See :func:`temi_loss`, in (0, 1]. Defaults to 0.6.
        temperature (float): Of the softmax of students and teachers. Defaults to 0.1.
        momentum (float): Share of a teacher that a step keeps, in [0, 1]. Defaults to 0.996.
        data_preprocessor (dict, optional): Config of the preprocessor.

    Raises:
        ValueError: If neither an encoder nor ``in_channels`` says how wide rows are, or a value is
            out of range.
    """

    needs: Tuple[str, ...] = ('view1', 'neighbor')
    training_only: Tuple[str, ...] = ('student.', 'prior')
    remedies = dict(
        largest_share='lower model.beta',
        dead_clusters='lower model.beta, or num_clusters',
    )

    def __init__(
        self,
        num_clusters: int,
        backbone: Optional[dict] = None,
        in_channels: Optional[int] = None,
        num_heads: int = 16,
        beta: float = 0.6,
        temperature: float = 0.1,
        momentum: float = 0.996,
        data_preprocessor: Optional[Union[dict, nn.Module]] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        encoder = build_backbone(backbone)
        super().__init__(num_clusters, num_heads, encoder, data_preprocessor, init_cfg)
        in_channels = width_of_rows(type(self), encoder, in_channels)
        if not 0 < beta <= 1:
            raise ValueError(f'beta must be above 0 and at most 1, got {beta}')
        if temperature <= 0:
            raise ValueError(f'temperature must be above 0, got {temperature}')
        if not 0 <= momentum <= 1:
            raise ValueError(f'momentum must be between 0 and 1, got {momentum}')
        self.beta = beta
        self.temperature = temperature
        self.momentum = momentum
        self.standardize = Standardize(in_channels)
        self.student = TEMIHeads(in_channels, num_clusters, num_heads)
        self.teacher = MomentumEncoder(dict(student=self.student))
        self.register_buffer('prior', torch.full((num_heads, num_clusters), 1 / num_clusters))

    def init_weights(self) -> None:
        """Initialise the students, and the teachers as copies of them."""
        super().init_weights()
        self.teacher.copy_from(self)

    def head_scores(self, rows: Tensor) -> Tensor:
        """Scores of every teacher for rows (B, D), shape (H, B, K)."""
        return self.teacher.student(self.standardize(rows)) / self.temperature

    def loss(self, batch: Dict[str, Tensor]) -> Dict[str, Tensor]:
        """The mean over the heads of their losses.

        Args:
            batch (dict): ``view1`` and ``neighbor``, images (B, 3, H, W) or rows (B, D) each.

        Returns:
            dict: ``loss_temi`` and ``best_objective``, the least of ``losses``.
        """
        self.teacher.update(self, self.momentum)
        rows = torch.cat([self.encode(batch[name]) for name in self.needs])
        self.standardize.update(rows)
        with torch.no_grad():
            taught = self.head_scores(rows)
            likely = mean_over_ranks(as_float(taught).softmax(dim=2).mean(dim=1))
            self.prior.lerp_(likely.to(self.prior), 1 - _KEEP_PRIOR)
        teacher = taught.chunk(2, dim=1)
        student = (self.student(self.standardize(rows)) / self.temperature).chunk(2, dim=1)
        losses = temi_loss(student, teacher, self.prior, self.beta)
        best = self.track(losses)
        self.count_clusters(teacher[0][self.losses.argmin()].argmax(dim=1))
        return dict(loss_temi=losses.mean(), best_objective=best)


class TEMIHeads(nn.Module):
    """H networks side by side: D - 512 - 256, the output of unit length, its product with each of K
    directions.

    GELU between the first two layers; the directions of a head have one length each, which is
    learned (weight normalisation) and starts as 1.

    Args:
        in_channels (int): D.
        num_clusters (int): K.
        num_heads (int): H.
        hidden_channels (int): Width of the first layer. Defaults to 512.
        out_channels (int): Width of the second layer. Defaults to 256.
    """

    def __init__(
        self,
        in_channels: int,
        num_clusters: int,
        num_heads: int,
        hidden_channels: int = 512,
        out_channels: int = 256,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        # All heads in one product.
        self.hidden = nn.Linear(in_channels, num_heads * hidden_channels)
        self.weight = nn.Parameter(torch.empty(num_heads, hidden_channels, out_channels))
        self.bias = nn.Parameter(torch.zeros(num_heads, 1, out_channels))
        # Short ones turn fast: a step of Adam is as long for any length.
        self.directions = nn.Parameter(torch.empty(num_heads, num_clusters, out_channels))
        self.lengths = nn.Parameter(torch.ones(num_heads, num_clusters, 1))
        nn.init.zeros_(self.hidden.bias)
        for weight in (self.hidden.weight, self.weight):
            nn.init.trunc_normal_(weight, std=0.02)
        nn.init.uniform_(self.directions, -(out_channels**-0.5), out_channels**-0.5)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows (B, D) to scores (H, B, K)."""
        hidden = nn.functional.gelu(self.hidden(rows))
        hidden = hidden.view(len(rows), self.num_heads, -1).transpose(0, 1)
        out = nn.functional.normalize(torch.baddbmm(self.bias, hidden, self.weight), dim=2)
        weight = self.lengths * nn.functional.normalize(self.directions, dim=2)
        return out @ weight.transpose(1, 2)
