from typing import Dict, Optional, Tuple, Union

import torch
from mmengine.dist import get_world_size
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from ..losses import pairwise_decisions
from .base import BaseClusterer, build_backbone, width_of_rows

# Where both thresholds meet: 0.95 - x = 0.455 + 0.1 x.
_MEET = 0.45


@MODELS.register_module()
class DAC(BaseClusterer):
    """Deep adaptive image clustering: decides of pairs whether they are of one cluster.

    At first only of the most and the least similar ones; thresholds move until all pairs are
    decided (:func:`pairwise_decisions`).

    Implementation of `Deep Adaptive Image Clustering
    <https://openaccess.thecvf.com/content_ICCV_2017/papers/Chang_Deep_Adaptive_Image_ICCV_2017_paper.pdf>`_
    (ICCV 2017, section 3). The upper threshold is 0.95 - x, the lower one 0.455 + 0.1 x. In the
    paper x grows after each epoch, by the gradient of their difference; here as much in equal steps
    through the epoch. There training ends when they meet; here it goes on with all pairs. Chosen
    here, where the paper says nothing: scores are standardised by batch norm, without which all
    pairs begin as equal, and below 0 cut off, as in its authors' code.

    Args:
        num_clusters (int): K.
        backbone (dict, optional): Config of an encoder or of any backbone; None takes rows.
        in_channels (int, optional): D, the width of the rows; the encoder's when not given.
        threshold_lr (float): Of the gradient step of x, above 0. Defaults to 0.009, the paper's: 45
            epochs until all pairs are decided.
        data_preprocessor (dict, optional): Config of the preprocessor.

    Raises:
        ValueError: If nothing says how wide rows are, or a value is out of range.

    Attributes:
        moved (Tensor): x, a scalar buffer, in [0, 0.45].
    """

    needs: Tuple[str, ...] = ('view1',)
    training_only: Tuple[str, ...] = ('moved',)
    remedies = dict(
        largest_share='lower optim_wrapper.optimizer.lr or model.threshold_lr',
        dead_clusters='lower optim_wrapper.optimizer.lr or model.threshold_lr',
    )

    def __init__(
        self,
        num_clusters: int,
        backbone: Optional[dict] = None,
        in_channels: Optional[int] = None,
        threshold_lr: float = 0.009,
        data_preprocessor: Optional[Union[dict, nn.Module]] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        encoder = build_backbone(backbone)
        super().__init__(num_clusters, encoder, data_preprocessor, init_cfg)
        width = width_of_rows(type(self), encoder, in_channels)
        if threshold_lr <= 0:
            raise ValueError(f'threshold_lr must be above 0, got {threshold_lr}')
        self.label_feature = nn.Sequential(
            nn.Linear(width, num_clusters), nn.BatchNorm1d(num_clusters), nn.ReLU()
        )
        self.threshold_lr = threshold_lr
        self.num_images = None
        self.register_buffer('moved', torch.zeros(()))

    def prepare(self, num_images: int) -> None:
        """Note how many images are an epoch, by which the thresholds move."""
        self.num_images = num_images

    def scores(self, rows: Tensor) -> Tensor:
        """Scores of the clusters for rows (B, D), shape (B, K)."""
        return self.label_feature(rows)

    def loss(self, batch: Dict[str, Tensor]) -> Dict[str, Tensor]:
        """Cross-entropy of the decisions; moves the thresholds.

        Args:
            batch (dict): ``view1``, images (B, 3, H, W) or rows (B, D).

        Returns:
            dict: ``loss_pairs`` and ``decided_share``, see :func:`pairwise_decisions`.

        Raises:
            ValueError: If :meth:`prepare` was not called.
        """
        if self.num_images is None:
            raise ValueError('how long an epoch is not known: call prepare(num_images) first')
        scores = self.scores(self.encode(batch['view1']))
        self.count_clusters(scores.argmax(dim=1))
        loss, decided = pairwise_decisions(scores, 0.95 - self.moved, 0.455 + 0.1 * self.moved)
        # The difference u - l has the gradient -1.1.
        step = 1.1 * self.threshold_lr * len(scores) * get_world_size() / self.num_images
        self.moved.add_(step).clamp_(max=_MEET)
        return dict(loss_pairs=loss, decided_share=decided)
