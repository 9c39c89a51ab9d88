from typing import Dict, Optional, Tuple, Union

import torch
from mmengine.dist import all_reduce
from mmengine.model import ModuleList
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from .base import BaseClusterer, build_backbone

_KEEP = 0.99


@MODELS.register_module()
class MultiHead(BaseClusterer):
    """Several clusterers side by side on the rows of one frozen encoder; the best one predicts.

    The best is the one of least loss, a moving average over the training that checkpoints keep: no
    label chooses (SCAN, section 3.2, trains ten heads so).

    Args:
        clusterer (dict): Config of one clusterer on rows, without a backbone.
        num_heads (int): How many, at least 1. They differ in their random start.
        backbone (dict, optional): Config of an encoder, frozen; None takes rows.
        data_preprocessor (dict, optional): Config of the preprocessor.

    Raises:
        ValueError: If ``num_heads`` is out of range or the encoder is not frozen.

    Attributes:
        losses (Tensor): Moving average of each head's total loss, a buffer (num_heads,); infinite
            before the first step.
    """

    def __init__(
        self,
        clusterer: dict,
        num_heads: int,
        backbone: Optional[dict] = None,
        data_preprocessor: Optional[Union[dict, nn.Module]] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        if num_heads < 1:
            raise ValueError(f'num_heads must be at least 1, got {num_heads}')
        encoder = build_backbone(backbone)
        if encoder is not None and not encoder.frozen:
            raise ValueError(
                'the heads of MultiHead share the rows of a frozen encoder: set model.backbone to '
                'dict(type="Encoder", backbone=..., freeze=True).'
            )
        heads = [MODELS.build({'backbone': None, **clusterer}) for _ in range(num_heads)]
        super().__init__(heads[0].num_clusters, encoder, data_preprocessor, init_cfg)
        self.heads = ModuleList(heads)
        self.register_buffer('losses', torch.full((num_heads,), float('inf')))

    @property
    def best(self) -> int:
        """The number of the head of least loss; the first before training."""
        return int(self.losses.argmin())

    @property
    def needs(self) -> Tuple[str, ...]:
        """What each head needs."""
        return self.heads[0].needs

    @property
    def embeddings(self) -> Tuple[str, ...]:
        """Those of the heads."""
        return self.heads[0].embeddings

    @property
    def training_only(self) -> Tuple[str, ...]:
        """State that only training needs, by the start of its names."""
        names = self.heads[0].training_only
        return tuple(f'heads.{i}.{name}' for i in range(len(self.heads)) for name in names)

    @property
    def max_confidence(self) -> float:
        """That of each head."""
        return self.heads[0].max_confidence

    @property
    def remedies(self) -> Dict[str, str]:
        """The heads', by their names in this config."""
        remedies = self.heads[0].remedies
        return {k: v.replace('model.', 'model.clusterer.') for k, v in remedies.items()}

    def prepare(self, num_images: int) -> None:
        """Prepare every head."""
        for head in self.heads:
            head.prepare(num_images)

    def scores(self, rows: Tensor) -> Tensor:
        """Scores of the best head for rows (B, D), shape (B, K)."""
        return self.heads[self.best].scores(rows)

    def embed(self, rows: Tensor) -> Dict[str, Tensor]:
        """Features of the best head."""
        return self.heads[self.best].embed(rows)

    def head_labels(self, rows: Tensor) -> Optional[Tensor]:
        """The clusters of every head, shape (B, num_heads)."""
        return torch.stack([head.scores(rows).argmax(dim=1) for head in self.heads], dim=1)

    def diagnostics(self) -> dict:
        """Those of the best head."""
        best = self.best
        for i, head in enumerate(self.heads):
            sizes = head.diagnostics().get('cluster_sizes')
            if i != best and sizes is not None:
                sizes.zero_()
        return self.heads[best].diagnostics()

    def loss(self, batch: Dict[str, Tensor]) -> Dict[str, Tensor]:
        """The mean over the heads of their losses, and of what they log.

        Args:
            batch (dict): See :meth:`BaseClusterer.loss`.

        Returns:
            dict: As one head gives it, and ``best_objective``, the least of ``losses``.
        """
        rows = {k: v if k == 'sample_idx' else self.encode(v) for k, v in batch.items()}
        results = [head.loss(rows) for head in self.heads]
        losses = {name: sum(r[name] for r in results) / len(results) for name in results[0]}
        losses['best_objective'] = self._track(results)
        return losses

    @torch.no_grad()
    def _track(self, results: list) -> Tensor:
        totals = torch.stack(
            [sum(v for k, v in result.items() if 'loss' in k).detach() for result in results]
        ).to(self.losses)
        all_reduce(totals, 'mean')  # every rank chooses alike
        average = torch.lerp(totals, self.losses, _KEEP)
        self.losses.copy_(torch.where(self.losses.isinf(), totals, average))
        # mmengine would minimise what has "loss" in its name.
        return self.losses.min()
