import math
from typing import Dict, List, Optional, Tuple

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS, TASK_UTILS
from torch import Tensor

from ..losses import max_confidence
from ..utils import as_float


@MODELS.register_module()
class CDCHead(BaseModule):
    """Head of CDC: splits z into cluster logits zc and instance factors zn (Algorithm 1).

    It holds what every contrastive framework shares: the split, the loss, the assigner and the
    scores zc / t.

    Args:
        num_clusters (int): K, the width of zc, at least 2.
        instance_dim (int): C, the width of zn. The paper uses 128, and 256 on ImageNet.
        tau (float): Temperature of InfoNCE. The paper: 0.15, and 0.40 on ImageNet.
        t (float): Temperature of the cluster probabilities. The paper: 0.10, and 0.20 on ImageNet.
        alpha (float): Weight of the cross-entropy. The paper: 5, and 1 on ImageNet.
        loss (dict): Config of the loss, which also receives the values above.
        assigner (dict): Config of the assigner, which also receives ``num_clusters``.
        self_label (dict, optional): Config of the :class:`SelfLabelLoss` of a :class:`SelfLabel`
            around the model.
        normalize_zc (bool): Whether zc gets unit norm. False is the paper's ablation "without
            norm" (Table 6), whose loss it reports to become NaN. Defaults to True.

    Raises:
        ValueError: If a value is out of range.
    """

    def __init__(
        self,
        num_clusters: int,
        instance_dim: int = 128,
        tau: float = 0.15,
        t: float = 0.10,
        alpha: float = 5.0,
        loss: Optional[dict] = None,
        assigner: Optional[dict] = None,
        self_label: Optional[dict] = None,
        normalize_zc: bool = True,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        if num_clusters < 2:
            raise ValueError(f'num_clusters must be at least 2, got {num_clusters}')
        if instance_dim < 1:
            raise ValueError(f'instance_dim must be at least 1, got {instance_dim}')
        self.num_clusters = num_clusters
        self.instance_dim = instance_dim
        self.tau = tau
        self.t = t
        self.normalize_zc = normalize_zc
        self.loss_module = MODELS.build(
            loss or dict(type='CDCLoss'),
            default_args=dict(num_clusters=num_clusters, tau=tau, t=t, alpha=alpha),
        )
        # Predictions by cluster, of all ranks, since CollapseWatchHook last looked.
        self.register_buffer('cluster_sizes', torch.zeros(num_clusters), persistent=False)
        self.assigner = TASK_UTILS.build(
            assigner or dict(type='SinkhornAssigner'), default_args=dict(num_clusters=num_clusters)
        )
        self.self_label = self_label and MODELS.build(
            self_label,
            default_args=dict(
                max_confidence=max_confidence(num_clusters, t) if normalize_zc else 1.0
            ),
        )

    @property
    def out_dim(self) -> int:
        """K + C, the width of z."""
        return self.num_clusters + self.instance_dim

    def normalize(self, z: Tensor) -> Tensor:
        """Give zc and zn unit norm, each apart.

        Args:
            z (Tensor): The neck's output, shape (B, K + C).

        Returns:
            Tensor: [zc, zn], shape (B, K + C), float32 or float64, each row of norm sqrt(2).
        """
        zc, zn = as_float(z).split([self.num_clusters, self.instance_dim], dim=1)
        zc = F.normalize(zc, dim=1) if self.normalize_zc else zc
        return torch.cat([zc, F.normalize(zn, dim=1)], dim=1)

    def scores(self, z: Tensor) -> Tensor:
        """The scores zc / t, whose softmax gives the probabilities of the clusters.

        Args:
            z (Tensor): The neck's output, shape (B, K + C).

        Returns:
            Tensor: Shape (B, K).
        """
        return self.normalize(z)[:, : self.num_clusters] / self.t

    def loss(
        self,
        pairs: List[Tuple[Tensor, Tensor]],
        negatives: Optional[Tensor],
        past: Optional[Tensor] = None,
        clusters: Optional[List[Tuple[Tensor, Tensor]]] = None,
        targets: Optional[Tensor] = None,
    ) -> Dict[str, Tensor]:
        """The mean objective of the view pairs and what the log shows of the assignments.

        Args:
            pairs (list): (query, key) of each direction, normalised, shape (B, K + C) each. One
                pair, or two for the symmetric loss.
            negatives (Tensor, optional): Normalised keys of other images, shape (M, K + C). None
                takes the other keys of the global batch.
            past (Tensor, optional): Past zc, newest first, for the assigner, shape (M, K).
            clusters (list, optional): (zc of the query view, zc of the key view) of each
                direction, shape (B, K) each, where they are not those of query and key.
            targets (Tensor, optional): Assignments (B, K) to use in place of the assigner's; a row
                of zeros leaves it to the assigner.

        Returns:
            dict: ``loss_infonce``, ``loss_cluster`` (alpha applied), ``assign_entropy`` (mean
            entropy of a sample's assignment over ln K, 0 to 1), and of the global batch
            ``largest_share`` (the share that the largest predicted cluster holds, 1/K to 1) and
            ``zn_std`` (standard deviation of the query's zn, 0 when all are equal, 1 when they are
            spread over the sphere).
        """
        if clusters is None:
            k = self.num_clusters
            clusters = [(query[:, :k], key[:, :k]) for query, key in pairs]
        results = [
            self.loss_module(
                query, key, negatives, lambda zc: self._assign(zc, past, targets), zc_pair
            )
            for (query, key), zc_pair in zip(pairs, clusters, strict=True)
        ]
        assignments = torch.cat([result.pop('assignments') for result in results])
        losses = {name: sum(r[name] for r in results) / len(results) for name in results[0]}
        predicted = torch.cat([zc for zc, _ in clusters]).argmax(dim=1)
        losses['assign_entropy'] = torch.special.entr(assignments).sum(1).mean() / math.log(
            self.num_clusters
        )
        zn = torch.cat([query[:, self.num_clusters :] for query, _ in pairs])
        losses.update(self._batch_statistics(predicted, zn))
        return losses

    def _assign(self, zc: Tensor, past: Optional[Tensor], targets: Optional[Tensor]) -> Tensor:
        assignments = self.assigner.assign(zc, past)
        if targets is None:
            return assignments
        given = targets.any(dim=1, keepdim=True)
        return torch.where(given, targets.to(assignments.dtype), assignments)

    @torch.no_grad()
    def _batch_statistics(self, predicted: Tensor, zn: Tensor) -> Dict[str, Tensor]:
        totals = torch.cat([zn.new_zeros(self.num_clusters), zn.sum(dim=0)])
        totals.index_add_(0, predicted, totals.new_ones(len(predicted)))
        all_reduce(totals)
        sizes, zn_sum = totals.split([self.num_clusters, self.instance_dim])
        self.cluster_sizes += sizes
        count = sizes.sum()
        # Each zn has norm 1, so the variances of its dimensions sum to 1 - |mean|^2.
        variance = 1 - (zn_sum / count).square().sum()
        return dict(largest_share=sizes.max() / count, zn_std=variance.clamp(min=0).sqrt())
