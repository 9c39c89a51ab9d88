from typing import Dict

from mmengine.dist import get_world_size
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from .functional import self_label_cross_entropy


@MODELS.register_module()
class SelfLabelLoss(nn.Module):
    """Self-labelling on confident samples (section 2.4 of the paper, after SCAN).

    Args:
        threshold (float): Probability above which a weak view's cluster is taken as a label.
            Defaults to 0.99, the paper's.
        class_balanced (bool): Whether each cluster weighs the same. Defaults to True, SCAN's
            choice but for ImageNet.
        max_confidence (float): The largest probability that the scores can give, filled in by the
            model. Defaults to 1.

    Raises:
        ValueError: If the threshold is out of range or cannot be reached.
    """

    def __init__(
        self, threshold: float = 0.99, class_balanced: bool = True, max_confidence: float = 1.0
    ) -> None:
        super().__init__()
        if threshold < 0:
            raise ValueError(f'threshold must not be negative, got {threshold}')
        if threshold >= max_confidence:
            raise ValueError(
                f'no image can pass threshold={threshold}: for these num_clusters and t no '
                f'probability exceeds {max_confidence:.4f}, zc being of unit norm. Lower the '
                'threshold or t.'
            )
        self.threshold = threshold
        self.class_balanced = class_balanced

    def forward(self, strong: Tensor, weak: Tensor) -> Dict[str, Tensor]:
        """Compute the term.

        Args:
            strong (Tensor): Scores of the clusters for the strong view, shape (B, K), with
                gradient.
            weak (Tensor): Scores for the weak view, shape (B, K).

        Returns:
            dict: ``loss``; ``labels`` (B,), -1 where not confident; ``confident_share`` of the
            global batch, 0 to 1.
        """
        loss, labels, counts = self_label_cross_entropy(
            strong, weak, self.threshold, self.class_balanced
        )
        share = counts.sum() / (len(labels) * get_world_size())
        return dict(loss=loss, labels=labels, confident_share=share)
