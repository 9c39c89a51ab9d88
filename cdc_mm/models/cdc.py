from collections import OrderedDict
from copy import deepcopy
from typing import Dict, List, Optional, Union

import torch
from mmengine.dist import get_world_size
from mmpretrain.models import BaseSelfSupervisor
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from .layers import SplitBatchNorm2d
from .utils import gather_rows, shuffled_forward


@MODELS.register_module()
class CDC(BaseSelfSupervisor):
    """Contrastive representation disentanglement for clustering, in the MoCo v2 framework.

    A query encoder and its momentum encoder give z = [zc | zn] of two views. Keys are kept in a
    queue of negatives, whose zc also top up the assigner when the batch is smaller than K.

    Implementation of `Contrastive Representation Disentanglement for Clustering
    <https://arxiv.org/abs/2306.05439>`_ (Algorithm 1, figure 1).

    Args:
        backbone (dict): Config of the backbone.
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
        pretrained: Optional[str] = None,
        data_preprocessor: Optional[Union[dict, nn.Module]] = None,
        init_cfg: Optional[Union[List[dict], dict]] = None,
    ) -> None:
        if not 0 <= momentum <= 1:
            raise ValueError(f'momentum must be between 0 and 1, got {momentum}')
        if queue_size < 1:
            raise ValueError(f'queue_size must be at least 1, got {queue_size}')
        head = MODELS.build(head)
        neck = dict(neck)
        neck.setdefault('out_channels', head.out_dim)
        super().__init__(
            backbone=backbone,
            neck=neck,
            head=head,
            pretrained=pretrained,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
        self._check_widths()
        self.momentum = momentum
        self.symmetric = symmetric
        self.momentum_encoder = nn.Sequential(
            OrderedDict(backbone=deepcopy(self.backbone), neck=deepcopy(self.neck))
        ).requires_grad_(False)
        self._split_bn = any(isinstance(m, SplitBatchNorm2d) for m in self.backbone.modules())

        self.register_buffer('queue', self.head.normalize(torch.randn(queue_size, head.out_dim)))
        self.register_buffer('queue_ptr', torch.zeros((), dtype=torch.long))
        self.register_load_state_dict_post_hook(_follow_query_encoder)

    def _check_widths(self) -> None:
        linears = [m for m in self.neck.modules() if isinstance(m, nn.Linear)]
        if not linears:
            return
        expected, given = self.head.out_dim, linears[-1].out_features
        if given != expected:
            raise ValueError(
                f'the head splits z into num_clusters={self.head.num_clusters} + '
                f'instance_dim={self.head.instance_dim} = {expected} values, but the neck puts '
                f'out {given}. Leave neck.out_channels out to have it filled in.'
            )
        width = getattr(self.backbone, 'feat_dim', None)
        if width is not None and linears[0].in_features != width:
            raise ValueError(
                f'the backbone puts out {width} channels, but the neck takes '
                f'in_channels={linears[0].in_features}. Set neck.in_channels={width}.'
            )

    def init_weights(self) -> None:
        """Initialise the query encoder and copy it into the momentum encoder."""
        super().init_weights()
        self.copy_to_momentum_encoder()

    def copy_to_momentum_encoder(self) -> None:
        """Make the momentum encoder equal to the query encoder."""
        self.momentum_encoder.backbone.load_state_dict(self.backbone.state_dict())
        self.momentum_encoder.neck.load_state_dict(self.neck.state_dict())

    @torch.no_grad()
    def update_momentum_encoder(self) -> None:
        """Move the momentum encoder's parameters towards the query encoder's."""
        query = [*self.backbone.parameters(), *self.neck.parameters()]
        torch._foreach_lerp_(list(self.momentum_encoder.parameters()), query, 1 - self.momentum)

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """Overwrite the oldest keys, wrapping around at the end of the queue.

        Args:
            keys (Tensor): Normalised keys of all ranks, shape (N, K + C), newest last, any N.
        """
        size = len(self.queue)
        kept = keys[-size:].to(self.queue.dtype)
        skipped = len(keys) - len(kept)
        index = (self.queue_ptr + skipped + torch.arange(len(kept), device=keys.device)) % size
        self.queue.index_copy_(0, index, kept)
        self.queue_ptr.add_(len(keys)).remainder_(size)

    def newest(self, count: int) -> Tensor:
        """The ``count`` newest keys of the queue (at most all), newest first, (count, K + C)."""
        back = torch.arange(1, min(count, len(self.queue)) + 1, device=self.queue.device)
        return self.queue[(self.queue_ptr - back) % len(self.queue)]

    def encode_query(self, image: Tensor) -> Tensor:
        """[zc, zn] of the query encoder, shape (B, K + C), with gradient."""
        return self.head.normalize(self.neck(self.backbone(image))[0])

    @torch.no_grad()
    def encode_key(self, image: Tensor) -> Tensor:
        """[zc, zn] of the momentum encoder, shape (B, K + C), under shuffle BN."""

        def encode(x: Tensor) -> Tensor:
            return self.head.normalize(self.momentum_encoder(x)[0])

        if get_world_size() > 1 or self._split_bn:
            return shuffled_forward(encode, image)
        return encode(image)

    def forward(
        self,
        inputs: Union[Tensor, List[Tensor]],
        data_samples: Optional[List[DataSample]] = None,
        mode: str = 'tensor',
    ):
        """Entry of training and test.

        Args:
            inputs (Tensor | list): Images (B, 3, H, W), or two views of them for ``loss``.
            data_samples (list, optional): The samples of the batch.
            mode (str): ``tensor`` gives the backbone's features, ``loss`` a dict of losses,
                ``predict`` samples with ``pred_score`` and ``pred_label``.
        """
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        return super().forward(inputs, data_samples, mode)

    def loss(
        self, inputs: List[Tensor], data_samples: Optional[List[DataSample]] = None
    ) -> Dict[str, Tensor]:
        """Losses of two views and one step of momentum encoder and queue.

        Args:
            inputs (list): Two views, shape (B, 3, H, W) each, B the same on every rank.
            data_samples (list, optional): Not used: CDC learns without labels.

        Returns:
            dict: See :meth:`CDCHead.loss`.
        """
        if not isinstance(inputs, (list, tuple)) or len(inputs) != 2:
            raise ValueError(
                'CDC trains on two views of each image: use a data_preprocessor of type '
                'MultiViewDataPreprocessor or a pipeline with MultiView(num_views=2).'
            )
        self.update_momentum_encoder()
        # Backward needs the negatives as they are now, and enqueueing changes them.
        negatives = self.queue.clone()
        num_clusters = self.head.num_clusters
        past = self.newest(self.head.assigner.num_past(len(inputs[0]), num_clusters))

        directions = [(0, 1), (1, 0)] if self.symmetric else [(0, 1)]
        pairs = [(self.encode_query(inputs[q]), self.encode_key(inputs[k])) for q, k in directions]
        losses = self.head.loss(pairs, negatives, past[:, :num_clusters])
        for _, key in pairs:
            self.enqueue(gather_rows(key))
        return losses

    @torch.no_grad()
    def predict(
        self, inputs: Tensor, data_samples: Optional[List[DataSample]] = None
    ) -> List[DataSample]:
        """Cluster probabilities of images (B, 3, H, W); see :meth:`CDCHead.predict`."""
        return self.head.predict(self.neck(self.backbone(inputs))[0], data_samples)


def _follow_query_encoder(model: CDC, incompatible_keys) -> None:
    """After loading a checkpoint without a momentum encoder, start it from the query encoder."""
    own = {f'momentum_encoder.{name}' for name, _ in model.momentum_encoder.named_parameters()}
    if own <= set(incompatible_keys.missing_keys):
        model.copy_to_momentum_encoder()
