from typing import Dict, Optional, Tuple, Union

import numpy as np
import torch
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from ..layers import PrincipalComponents, Standardize
from .base import build_backbone, width_of_rows
from .ensemble import EnsembleClusterer


@MODELS.register_module()
class SCAN(EnsembleClusterer):
    """Semantic clustering by adopting nearest neighbours: linear heads on the rows of a pretext.

    An image and one of its nearest neighbours shall have the same cluster. The head of least loss
    predicts, as in the paper, or with :class:`ConsensusHook` the best ones together.

    Implementation of `SCAN: Learning to Classify Images without Labels
    <https://arxiv.org/abs/2005.12320>`_ (section 2.2). Rows are standardised, as those of an
    encoder that was trained elsewhere have any scale.

    Args:
        num_clusters (int): K.
        backbone (dict, optional): Config of an encoder or of any backbone; None takes rows.
        in_channels (int, optional): D, the width of the rows; the encoder's when not given.
        num_heads (int): How many heads. Defaults to 10, SCAN's.
        num_components (int, optional): How many principal components of the rows the heads see;
            :class:`FitRowsHook` finds them before training. Defaults to whole rows, as in the
            paper.
        loss (dict, optional): Config of the loss. Defaults to :class:`SCANLoss`.
        data_preprocessor (dict, optional): Config of the preprocessor.

    Raises:
        ValueError: If neither an encoder nor ``in_channels`` says how wide rows are, or a value is
            out of range.
    """

    needs: Tuple[str, ...] = ('view1', 'neighbor')
    remedies = dict(
        largest_share='raise model.loss.entropy_weight',
        dead_clusters='raise model.loss.entropy_weight, or lower num_clusters',
    )

    def __init__(
        self,
        num_clusters: int,
        backbone: Optional[dict] = None,
        in_channels: Optional[int] = None,
        num_heads: int = 10,
        num_components: Optional[int] = None,
        loss: Optional[dict] = None,
        data_preprocessor: Optional[Union[dict, nn.Module]] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        encoder = build_backbone(backbone)
        super().__init__(num_clusters, num_heads, encoder, data_preprocessor, init_cfg)
        in_channels = width_of_rows(type(self), encoder, in_channels)
        if num_components is None:
            self.standardize = Standardize(in_channels)
        else:
            self.standardize = PrincipalComponents(in_channels, num_components)
        self.num_trained = num_heads
        # All heads in one product.
        self.head = nn.Linear(num_components or in_channels, num_heads * num_clusters)
        self.loss_module = MODELS.build(loss or dict(type='SCANLoss'))

    def fit_rows(self, rows: np.ndarray) -> None:
        """Find the principal components of the training rows (N, D), if they are asked for."""
        if isinstance(self.standardize, PrincipalComponents):
            self.standardize.fit(rows)

    def head_scores(self, rows: Tensor, count: Optional[int] = None) -> Tensor:
        """Scores of every head, or of the first ``count``, for rows (B, D), shape (H, B, K)."""
        shape = self.num_heads if count is None else count, self.num_clusters
        own = slice(shape[0] * shape[1])
        points = self.standardize(rows)
        scores = nn.functional.linear(points, self.head.weight[own], self.head.bias[own])
        return scores.view(len(rows), *shape).transpose(0, 1)

    def loss(self, batch: Dict[str, Tensor]) -> Dict[str, Tensor]:
        """The mean over the heads of their losses.

        Args:
            batch (dict): ``view1`` and ``neighbor``, images (B, 3, H, W) or rows (B, D) each.

        Returns:
            dict: ``loss_neighbor`` and ``loss_entropy``, see :class:`SCANLoss`, and
            ``best_objective``, the least of ``losses``.
        """
        rows = torch.cat([self.encode(batch[name]) for name in self.needs])
        self.standardize.update(rows)
        scores, neighbor_scores = self.head_scores(rows, self.num_trained).chunk(2, dim=1)
        terms = self.loss_module(scores, neighbor_scores)
        best = self.track(sum(terms.values()))
        self.count_clusters(scores[self.losses.argmin()].argmax(dim=1))
        return dict({name: term.mean() for name, term in terms.items()}, best_objective=best)
