from typing import Dict, List

import torch
from mmengine.dist import get_world_size
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from mmpretrain.registry import MODELS
from torch import Tensor

from ..layers import SplitBatchNorm2d
from ..utils import gather_rows, shuffled_forward
from .base_cdc import BaseCDC


@MODELS.register_module()
class CDC(BaseCDC):
    """Contrastive representation disentanglement for clustering, in the MoCo v2 framework.

    A query encoder and its momentum encoder give z = [zc | zn] of two views. Keys are kept in a
    queue of negatives, whose zc also top up the assigner when the batch is smaller than K.

    Implementation of `Contrastive Representation Disentanglement for Clustering
    <https://arxiv.org/abs/2306.05439>`_ (Algorithm 1, figure 1).

    Args:
        backbone (dict): Config of the backbone; see :class:`BaseCDC` for a frozen one.
        neck (dict): Config of the projection MLP. Its ``out_channels`` is filled in from the head
            when not given.
        head (dict): Config of the :class:`CDCHead`.
        queue_size (int): Number of past keys kept as negatives, any size and independent of the
            batch size. Defaults to 65536, MoCo's.
        momentum (float): Share of the momentum encoder that a step keeps, in [0, 1]. Defaults to
            0.999, MoCo's.
        symmetric (bool): Whether each view serves as query and as key, the loss being the mean of
            both directions. Defaults to False, as in MoCo.
        pretrained (str, optional): Checkpoint to load at ``init_weights``.
        data_preprocessor (dict, optional): Config of the preprocessor.

    Raises:
        ValueError: If the widths of backbone, neck and head do not fit together or a value is out
            of range.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        head: dict,
        queue_size: int = 65536,
        momentum: float = 0.999,
        symmetric: bool = False,
        **kwargs,
    ) -> None:
        if queue_size < 1:
            raise ValueError(f'queue_size must be at least 1, got {queue_size}')
        super().__init__(backbone, neck, head, momentum, **kwargs)
        self.symmetric = symmetric
        norms = [m for m in self.momentum_encoder.modules() if isinstance(m, _BatchNorm)]
        self._split_bn = any(isinstance(m, SplitBatchNorm2d) for m in norms)
        self._shuffles = bool(norms)
        self.register_queue(self.head.normalize(torch.randn(queue_size, self.head.out_dim)))

    def encode_query(self, x: Tensor) -> Tensor:
        """[zc, zn] of the query encoder, shape (B, K + C), with gradient."""
        return self.head.normalize(self.project(x))

    @torch.no_grad()
    def encode_key(self, x: Tensor) -> Tensor:
        """[zc, zn] of the momentum encoder, shape (B, K + C), under shuffle BN."""

        def encode(rows: Tensor) -> Tensor:
            return self.head.normalize(self.project_key(rows))

        if self._shuffles and (get_world_size() > 1 or self._split_bn):
            return shuffled_forward(encode, x)
        return encode(x)

    def contrast(self, views: List[Tensor]) -> Dict[str, Tensor]:
        """Losses of two views and one step of momentum encoder and queue.

        Args:
            views (list): Two views, shape (B, 3, H, W) each, B the same on every rank.

        Returns:
            dict: See :meth:`CDCHead.loss`.
        """
        self.update_momentum_encoder()
        # Backward needs the negatives as they are now, and enqueueing changes them.
        negatives = self.queue.clone()
        num_clusters = self.head.num_clusters
        past = self.newest(self.head.assigner.num_past(len(views[0]), num_clusters))

        inputs = self.shared_features(views)
        directions = [(0, 1), (1, 0)] if self.symmetric else [(0, 1)]
        pairs = [(self.encode_query(inputs[q]), self.encode_key(inputs[k])) for q, k in directions]
        losses = self.head.loss(pairs, negatives, past[:, :num_clusters])
        for _, key in pairs:
            self.enqueue(gather_rows(key))
        return losses
