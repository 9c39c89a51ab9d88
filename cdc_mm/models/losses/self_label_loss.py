from typing import Dict

from mmengine.dist import get_world_size
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from .functional import max_confidence, self_label_cross_entropy

_TEACHERS = ('query', 'momentum')


@MODELS.register_module()
class SelfLabelLoss(nn.Module):
    """Self-labelling on confident samples (section 2.4 of the paper, after SCAN).

    Args:
        num_clusters (int): K, the width of zc.
        t (float): Temperature of the cluster probabilities.
        threshold (float): Probability above which a weak view's cluster is taken as a label.
            Defaults to 0.99, the paper's.
        class_balanced (bool): Whether each cluster weighs the same. Defaults to True, SCAN's
            choice but for ImageNet.
        teacher (str): Whose clusters are the labels, those of the ``query`` encoder or, an average
            over past steps, of the ``momentum`` encoder. Defaults to ``query``.

    Raises:
        ValueError: If a value is out of range, or zc of unit norm cannot reach the threshold.
    """

    def __init__(
        self,
        num_clusters: int,
        t: float,
        threshold: float = 0.99,
        class_balanced: bool = True,
        teacher: str = 'query',
    ) -> None:
        super().__init__()
        if teacher not in _TEACHERS:
            raise ValueError(f'teacher must be query or momentum, got {teacher}')
        if threshold < 0:
            raise ValueError(f'threshold must not be negative, got {threshold}')
        bound = max_confidence(num_clusters, t)
        if threshold >= bound:
            raise ValueError(
                f'no image can pass threshold={threshold}: zc has unit norm, so with '
                f'num_clusters={num_clusters} and t={t} no probability exceeds {bound:.4f}. Lower '
                'the threshold or t.'
            )
        self.t = t
        self.threshold = threshold
        self.class_balanced = class_balanced
        self.teacher = teacher

    def forward(self, zc_strong: Tensor, zc_weak: Tensor) -> Dict[str, Tensor]:
        """Compute the term.

        Args:
            zc_strong (Tensor): zc of the strong view, shape (B, K), with gradient.
            zc_weak (Tensor): zc of the weak view, shape (B, K).

        Returns:
            dict: ``loss``; ``labels`` (B,), -1 where not confident; ``confident_share`` of the
            global batch, 0 to 1.
        """
        loss, labels, counts = self_label_cross_entropy(
            zc_strong, zc_weak, self.t, self.threshold, self.class_balanced
        )
        share = counts.sum() / (len(labels) * get_world_size())
        return dict(loss=loss, labels=labels, confident_share=share)
