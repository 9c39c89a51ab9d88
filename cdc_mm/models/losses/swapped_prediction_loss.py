import torch
import torch.nn.functional as F
from mmengine.dist import get_world_size
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from .functional import swapped_prediction


@MODELS.register_module()
class SwappedPredictionLoss(nn.Module):
    """SwAV's prototypes and loss for two views, for mmpretrain's ``SwAVHead``.

    `Unsupervised Learning of Visual Features by Contrasting Cluster Assignments
    <https://arxiv.org/abs/2006.09882>`_ (section 3.1). Stands in for mmpretrain's ``SwAVLoss``,
    whose assignments differ between ranks from those of the whole batch. There is no queue: the
    global batch must hold at least as many images as there are prototypes.

    Args:
        feat_dim (int): Width of the unit rows that are compared.
        num_prototypes (int): K, at least 2.
        temperature (float): Of the prediction. Defaults to 0.1, SwAV's.
        epsilon (float): Entropy regularisation of the assignments. Defaults to 0.05, SwAV's.
        iterations (int): Rounds of Sinkhorn. Defaults to 3, SwAV's.

    Raises:
        ValueError: If a value is out of range.
    """

    def __init__(
        self,
        feat_dim: int,
        num_prototypes: int,
        temperature: float = 0.1,
        epsilon: float = 0.05,
        iterations: int = 3,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ('num_prototypes', num_prototypes, 2),
            ('iterations', iterations, 1),
        ):
            if value < least:
                raise ValueError(f'{name} must be at least {least}, got {value}')
        for name, value in (('temperature', temperature), ('epsilon', epsilon)):
            if not value > 0:
                raise ValueError(f'{name} must be above 0, got {value}')
        self.prototypes = nn.Linear(feat_dim, num_prototypes, bias=False)
        self.temperature = temperature
        self.epsilon = epsilon
        self.iterations = iterations

    def forward(self, rows: Tensor) -> Tensor:
        """Compute the loss; the prototypes are brought to unit norm first.

        Args:
            rows (Tensor): Unit rows of the first view of this rank's B images, then of the second,
                shape (2 B, feat_dim), B the same on every rank.

        Returns:
            Tensor: Scalar.

        Raises:
            ValueError: If the global batch holds fewer images than there are prototypes.
        """
        images = len(rows) // 2 * get_world_size()
        if images < self.prototypes.out_features:
            raise ValueError(
                f'{images} images a step cannot be spread over num_prototypes='
                f'{self.prototypes.out_features}: lower it, or raise the batch size'
            )
        with torch.no_grad():
            self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))
        scores, other_scores = self.prototypes(rows).chunk(2)
        return swapped_prediction(
            scores, other_scores, self.temperature, self.epsilon, self.iterations
        )
