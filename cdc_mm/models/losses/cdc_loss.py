from typing import Callable, Dict

from mmpretrain.registry import MODELS
from torch import Tensor, nn

from .functional import cdc_loss


@MODELS.register_module()
class CDCLoss(nn.Module):
    """The two terms of the CDC objective (the paper's equation 9) for one view pair.

    Args:
        num_clusters (int): K, the width of zc.
        tau (float): Temperature of InfoNCE.
        t (float): Temperature of the cluster probabilities.
        alpha (float): Weight of the cross-entropy.
        swapped (bool): Whether the key view's assignments supervise the query view, as in SwAV.
            With False each view is supervised by its own (an ablation). Defaults to True.
    """

    def __init__(
        self, num_clusters: int, tau: float, t: float, alpha: float, swapped: bool = True
    ) -> None:
        super().__init__()
        for name, value in (('tau', tau), ('t', t)):
            if not value > 0:
                raise ValueError(f'{name} is a temperature and must be above 0, got {value}')
        if alpha < 0:
            raise ValueError(f'alpha must not be negative, got {alpha}')
        self.num_clusters = num_clusters
        self.tau = tau
        self.t = t
        self.alpha = alpha
        self.swapped = swapped

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        negatives: Tensor,
        assign: Callable[[Tensor], Tensor],
    ) -> Dict[str, Tensor]:
        """Compute both terms.

        Args:
            query (Tensor): [zc, zn] of the query view, shape (B, K + C), with gradient.
            key (Tensor): [zc, zn] of the key view, shape (B, K + C), without gradient.
            negatives (Tensor): Shape (M, K + C), without gradient.
            assign (Callable): Maps zc (B, K) to assignments (B, K).

        Returns:
            dict: ``loss_infonce`` and ``loss_cluster`` (alpha applied), which sum to the
            objective, and ``assignments`` (B, K).
        """
        source = key if self.swapped else query.detach()
        assignments = assign(source[:, : self.num_clusters])
        loss_infonce, loss_cluster = cdc_loss(
            query, key, negatives, assignments, tau=self.tau, t=self.t, alpha=self.alpha
        )
        return dict(loss_infonce=loss_infonce, loss_cluster=loss_cluster, assignments=assignments)
