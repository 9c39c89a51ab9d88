import math
from typing import Callable, Dict, Optional, Tuple

from mmpretrain.registry import MODELS
from torch import Tensor, nn

from .functional import cluster_cross_entropy, in_batch_info_nce, info_nce


@MODELS.register_module()
class CDCLoss(nn.Module):
    """The two terms of the CDC objective (the paper's equation 9) for one view pair.

    Args:
        num_clusters (int): K, the width of zc.
        tau (float): Temperature of InfoNCE.
        t (float): Temperature of the cluster probabilities.
        alpha (float): Weight of the cross-entropy.
        infonce_weight (float): Weight of InfoNCE; 0 is the paper's ablation "without InfoNCE"
            (Table 6). Defaults to 1.
        swapped (bool): Whether the key view's assignments supervise the query view, as in SwAV.
            With False each view is supervised by its own (an ablation). Defaults to True.
    """

    def __init__(
        self,
        num_clusters: int,
        tau: float,
        t: float,
        alpha: float,
        infonce_weight: float = 1.0,
        swapped: bool = True,
    ) -> None:
        super().__init__()
        for name, value in (('tau', tau), ('t', t)):
            if not value > 0:
                raise ValueError(f'{name} is a temperature and must be above 0, got {value}')
        for name, value in (('alpha', alpha), ('infonce_weight', infonce_weight)):
            if value < 0:
                raise ValueError(f'{name} must not be negative, got {value}')
        self.num_clusters = num_clusters
        self.tau = tau
        self.t = t
        self.alpha = alpha
        self.infonce_weight = infonce_weight
        self.swapped = swapped

    @property
    def uniform_loss(self) -> float:
        """``loss_cluster`` of a prediction that tells no cluster from another, alpha ln K."""
        return self.alpha * math.log(self.num_clusters)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        negatives: Optional[Tensor],
        assign: Callable[[Tensor], Tensor],
        clusters: Optional[Tuple[Tensor, Tensor]] = None,
    ) -> Dict[str, Tensor]:
        """Compute both terms.

        Args:
            query (Tensor): [zc, zn] of the query view, shape (B, K + C), with gradient.
            key (Tensor): [zc, zn] of the key view, shape (B, K + C), without gradient.
            negatives (Tensor, optional): Shape (M, K + C), without gradient. None takes the other
                keys of the global batch, as MoCo v3.
            assign (Callable): Maps zc (B, K) to assignments (B, K).
            clusters (tuple, optional): zc of the query view and of the key view, shape (B, K)
                each. Defaults to those of ``query`` and ``key``.

        Returns:
            dict: ``loss_infonce`` and ``loss_cluster``, weights applied, which sum to the
            objective, and ``assignments`` (B, K).
        """
        k = self.num_clusters
        zc_query, zc_key = clusters or (query[:, :k], key[:, :k])
        assignments = assign(zc_key if self.swapped else zc_query.detach())
        if negatives is None:
            loss_infonce = in_batch_info_nce(query, key, self.tau)
        else:
            loss_infonce = info_nce(query, key, negatives, self.tau)
        loss_cluster = cluster_cross_entropy(zc_query, assignments, self.t)
        return dict(
            loss_infonce=self.infonce_weight * loss_infonce,
            loss_cluster=self.alpha * loss_cluster,
            assignments=assignments,
        )
