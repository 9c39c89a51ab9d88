from typing import Dict, List, Optional

import torch
from mmengine.dist import get_world_size
from mmengine.logging import MMLogger
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from mmpretrain.registry import MODELS
from torch import Tensor

from ..layers import SplitBatchNorm2d
from ..utils import gather_rows, shuffled_forward
from .momentum_cdc import MomentumCDC

_MOCO_QUEUE = 65536


@MODELS.register_module()
class CDC(MomentumCDC):
    """Contrastive representation disentanglement for clustering, in the MoCo v2 framework.

    A query encoder and its momentum encoder give z = [zc | zn] of two views. Keys are kept in a
    queue of negatives, whose zc also top up the assigner when the batch is smaller than K.

    Implementation of `Contrastive Representation Disentanglement for Clustering
    <https://arxiv.org/abs/2306.05439>`_ (Algorithm 1, figure 1).

    Args:
        backbone (dict, optional): Config of an encoder or of any backbone; None takes rows. See
            :class:`MomentumCDC` for a frozen one.
        neck (dict): Config of the projection MLP. Its ``in_channels`` and ``out_channels`` are
            filled in from the encoder and the head when not given.
        head (dict): Config of the :class:`CDCHead`.
        queue_size (int, optional): Number of past keys kept as negatives, any size and independent
            of the batch size. Defaults to what the data allow, as is taken where it exceeds the
            number of training images: half that number, so that an image seldom meets its own
            past key, at most 65536, MoCo's.
        momentum (float): Share of the momentum encoder that a step keeps, in [0, 1]. Defaults to
            0.999, MoCo's.
        symmetric (bool): Whether each view serves as query and as key, the loss being the mean of
            both directions. Defaults to False, as in MoCo.
        data_preprocessor (dict, optional): Config of the preprocessor.

    Raises:
        ValueError: If the widths of backbone, neck and head do not fit together or a value is out
            of range.
    """

    def __init__(
        self,
        backbone: Optional[dict],
        neck: dict,
        head: dict,
        queue_size: Optional[int] = None,
        momentum: float = 0.999,
        symmetric: bool = False,
        **kwargs,
    ) -> None:
        if queue_size is not None and queue_size < 1:
            raise ValueError(f'queue_size must be at least 1, got {queue_size}')
        super().__init__(backbone, neck, head, momentum, **kwargs)
        self.symmetric = symmetric
        norms = [m for m in self.momentum_encoder.modules() if isinstance(m, _BatchNorm)]
        self._split_bn = any(isinstance(m, SplitBatchNorm2d) for m in norms)
        self._shuffles = bool(norms)
        self.queue_size = queue_size
        if queue_size is not None:
            self.queue.start(self.head.normalize(torch.randn(queue_size, self.head.out_dim)))

    def prepare(self, num_images: int) -> None:
        """Size the queue by the data, if the config does not say or says more than there are.

        Args:
            num_images (int): The images of the training data.
        """
        # At least K rows, which top up the assigner.
        fitting = max(min(num_images // 2, _MOCO_QUEUE), self.num_clusters)
        too_long = self.queue_size is not None and self.queue_size > num_images
        size = fitting if self.queue_size is None or too_long else self.queue_size
        if len(self.queue) == size:
            return
        # Of its own generator, so that every rank begins with the same rows.
        rows = torch.randn(size, self.head.out_dim, generator=torch.Generator().manual_seed(0))
        self.queue.start(self.head.normalize(rows).to(self.head.cluster_sizes.device))
        if too_long:
            MMLogger.get_current_instance().warning(
                f'A queue of {self.queue_size} keys is longer than the {num_images} training '
                f'images, which would meet their own past keys as negatives: it has {size}. Leave '
                'queue_size out, or set it to None, to have it sized by the data.'
            )

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

    def contrast(self, views: List[Tensor], targets: Optional[Tensor] = None) -> Dict[str, Tensor]:
        """Losses of two views and one step of momentum encoder and queue.

        Args:
            views (list): Two views as :meth:`shared` gives them, B the same on every rank.
            targets (Tensor, optional): See :meth:`CDCHead.loss`.

        Returns:
            dict: See :meth:`CDCHead.loss`.

        Raises:
            ValueError: If there is no queue yet.
        """
        if not len(self.queue):
            raise ValueError('queue_size is not set: call prepare(num_images) before training')
        self.momentum_encoder.update(self, self.momentum)
        num_clusters = self.num_clusters
        past = self.queue.newest(self.head.assigner.num_past(len(views[0]), num_clusters))

        directions = [(0, 1), (1, 0)] if self.symmetric else [(0, 1)]
        pairs = [(self.encode_query(views[q]), self.encode_key(views[k])) for q, k in directions]
        losses = self.head.loss(pairs, self.queue.rows, past[:, :num_clusters], targets=targets)
        for _, key in pairs:
            self.queue.enqueue(gather_rows(key))
        return losses
