from typing import Dict, Optional, Tuple, Union

import torch
from mmengine.model import ModuleList
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from .base import build_backbone
from .ensemble import EnsembleClusterer


@MODELS.register_module()
class MultiHead(EnsembleClusterer):
    """Several clusterers of any kind side by side on the rows of one frozen encoder.

    The one of least loss predicts, or some of them together: :class:`EnsembleClusterer`.

    Args:
        clusterer (dict): Config of one clusterer on rows, without a backbone.
        num_heads (int): How many, at least 1. They differ in their random start.
        backbone (dict, optional): Config of an encoder, frozen; None takes rows.
        data_preprocessor (dict, optional): Config of the preprocessor.

    Raises:
        ValueError: If ``num_heads`` is out of range or the encoder is not frozen.
    """

    def __init__(
        self,
        clusterer: dict,
        num_heads: int,
        backbone: Optional[dict] = None,
        data_preprocessor: Optional[Union[dict, nn.Module]] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        encoder = build_backbone(backbone)
        if encoder is not None and not encoder.frozen:
            raise ValueError(
                'the heads of MultiHead share the rows of a frozen encoder: set model.backbone to '
                'dict(type="Encoder", backbone=..., freeze=True).'
            )
        heads = [MODELS.build({'backbone': None, **clusterer}) for _ in range(max(1, num_heads))]
        super().__init__(heads[0].num_clusters, num_heads, encoder, data_preprocessor, init_cfg)
        self.heads = ModuleList(heads)

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

    def head_scores(self, rows: Tensor) -> Tensor:
        """Scores of every head for rows (B, D), shape (H, B, K)."""
        return torch.stack([head.scores(rows) for head in self.heads])

    def embed(self, rows: Tensor) -> Dict[str, Tensor]:
        """Features of the best head."""
        return self.heads[self.best].embed(rows)

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
        # mmengine would minimise what has "loss" in its name.
        losses['best_objective'] = self.track(
            torch.stack([sum(v for k, v in r.items() if 'loss' in k) for r in results])
        )
        return losses
