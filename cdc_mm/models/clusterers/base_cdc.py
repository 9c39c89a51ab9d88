from abc import ABCMeta, abstractmethod
from collections import OrderedDict
from copy import deepcopy
from typing import Dict, List, Optional, Tuple, Union

import torch
from mmpretrain.models import BaseSelfSupervisor
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn


class BaseCDC(BaseSelfSupervisor, metaclass=ABCMeta):
    """What CDC has in common in every contrastive framework.

    A query encoder (backbone and neck) and its momentum encoder, a queue that tops up the assigner,
    prediction, and the self-labelling term. A subclass adds :meth:`contrast`.

    A backbone without trainable parameters (``frozen_stages=4`` of a ResNet) is frozen: it stays
    in evaluation mode, and both encoders share its features, one pass a view.

    Args:
        backbone (dict): Config of the backbone.
        neck (dict): Config of the projection MLP. Its ``out_channels`` is filled in from the head
            when not given.
        head (dict): Config of the :class:`CDCHead`.
        momentum (float): Share of the momentum encoder that a step keeps, in [0, 1].
        pretrained (str, optional): Checkpoint to load at ``init_weights``.
        data_preprocessor (dict, optional): Config of the preprocessor.

    Raises:
        ValueError: If the widths of backbone, neck and head do not fit together or a value is out
            of range.

    Attributes:
        contrastive (bool): Whether the loss has the contrastive objective. Set by
            :class:`SelfLabelHook`.
        self_label_weight (float): Weight of the self-labelling term. Set by
            :class:`SelfLabelHook`.
    """

    # State that only training needs, by the start of its names.
    training_only = ('momentum_encoder.', 'queue', 'pseudo_labels.')

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        head: dict,
        momentum: float,
        pretrained: Optional[str] = None,
        data_preprocessor: Optional[Union[dict, nn.Module]] = None,
        init_cfg: Optional[Union[List[dict], dict]] = None,
    ) -> None:
        if not 0 <= momentum <= 1:
            raise ValueError(f'momentum must be between 0 and 1, got {momentum}')
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
        self.frozen_backbone = not any(p.requires_grad for p in self.backbone.parameters())
        parts = OrderedDict(backbone=deepcopy(self.backbone), neck=deepcopy(self.neck))
        if self.frozen_backbone:
            del parts['backbone']
        self.momentum_encoder = nn.Sequential(parts).requires_grad_(False)
        self.register_load_state_dict_post_hook(_follow_query_encoder)

        self.contrastive = True
        self.self_label_weight = 0.0
        self.pseudo_labels = None

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
        for name, module in self.momentum_encoder.named_children():
            module.load_state_dict(getattr(self, name).state_dict())

    @torch.no_grad()
    def update_momentum_encoder(self, momentum: Optional[float] = None) -> None:
        """Move the momentum encoder's parameters towards the query encoder's.

        Args:
            momentum (float, optional): Share to keep; that of the config if None.
        """
        momentum = self.momentum if momentum is None else momentum
        query = [
            param
            for name, _ in self.momentum_encoder.named_children()
            for param in getattr(self, name).parameters()
        ]
        torch._foreach_lerp_(list(self.momentum_encoder.parameters()), query, 1 - momentum)

    def register_queue(self, rows: Tensor) -> None:
        """Start the queue, a buffer, with ``rows`` (L, D)."""
        self.register_buffer('queue', rows)
        self.register_buffer('queue_ptr', torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def enqueue(self, rows: Tensor) -> None:
        """Overwrite the oldest rows of the queue, wrapping around at its end.

        Args:
            rows (Tensor): Rows of all ranks, shape (N, D), newest last, any N.
        """
        size = len(self.queue)
        kept = rows[-size:].to(self.queue.dtype)
        skipped = len(rows) - len(kept)
        index = (self.queue_ptr + skipped + torch.arange(len(kept), device=rows.device)) % size
        self.queue.index_copy_(0, index, kept)
        self.queue_ptr.add_(len(rows)).remainder_(size)

    def newest(self, count: int) -> Tensor:
        """The ``count`` newest rows of the queue (at most all), newest first, (count, D)."""
        back = torch.arange(1, min(count, len(self.queue)) + 1, device=self.queue.device)
        return self.queue[(self.queue_ptr - back) % len(self.queue)]

    def shared_features(self, views: List[Tensor]) -> List[Tensor]:
        """What both encoders take: the views, or features of the frozen backbone."""
        if not self.frozen_backbone:
            return list(views)
        with torch.no_grad():
            return [self.backbone(view)[-1] for view in views]

    def project(self, x: Tensor) -> Tensor:
        """The neck's output z of the query encoder for :meth:`shared_features`, (B, K + C)."""
        return self.neck((x,) if self.frozen_backbone else self.backbone(x))[0]

    def project_key(self, x: Tensor) -> Tensor:
        """The neck's output z of the momentum encoder for :meth:`shared_features`, (B, K + C)."""
        return self.momentum_encoder((x,) if self.frozen_backbone else x)[0]

    def cluster_logits(self, z: Tensor) -> Tensor:
        """The vector whose zc says the cluster, (B, K + C), from :meth:`project`'s output."""
        return z

    def forward(
        self,
        inputs: Union[Tensor, List[Tensor]],
        data_samples: Optional[List[DataSample]] = None,
        mode: str = 'tensor',
    ):
        """Entry of training and test.

        Args:
            inputs (Tensor | list): Images (B, 3, H, W), or views of them for ``loss``.
            data_samples (list, optional): The samples of the batch.
            mode (str): ``tensor`` gives the backbone's features, ``loss`` a dict of losses,
                ``predict`` samples with ``pred_score`` and ``pred_label``.
        """
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        return super().forward(inputs, data_samples, mode)

    def loss(
        self,
        inputs: Union[Dict[str, Tensor], List[Tensor]],
        data_samples: Optional[List[DataSample]] = None,
    ) -> Dict[str, Tensor]:
        """Losses of the views of a batch, and one step of momentum encoder and queue.

        Args:
            inputs (dict | list): Views by name, or in this order: ``view1`` and ``view2``, shape
                (B, 3, H, W) each, B the same on every rank; with self-labelling also, or only,
                ``weak`` and ``strong``.
            data_samples (list, optional): The samples; only their ``sample_idx`` is read: CDC
                learns without labels.

        Returns:
            dict: See :meth:`CDCHead.loss` and :meth:`self_label`.
        """
        names = ('view1', 'view2') * self.contrastive
        names += ('weak', 'strong') * (self.head.self_label is not None)
        if isinstance(inputs, (list, tuple)) and len(inputs) == len(names):
            inputs = dict(zip(names, inputs))
        given = tuple(inputs) if isinstance(inputs, dict) else ()
        if not set(names) <= set(given):
            raise ValueError(
                f'training takes the views {", ".join(names)} of each image, got '
                f'{", ".join(given) or "none by name"}: use a data_preprocessor of type '
                'MultiViewDataPreprocessor with views of these names.'
            )
        losses = {}
        if self.contrastive:
            losses.update(self.contrast([inputs['view1'], inputs['view2']]))
        if self.self_label_weight > 0:
            losses.update(self.self_label(inputs['weak'], inputs['strong'], data_samples))
        return losses

    @abstractmethod
    def contrast(self, views: List[Tensor]) -> Dict[str, Tensor]:
        """Contrastive and cluster losses of two views, as :meth:`CDCHead.loss` names them."""

    def self_label(
        self, weak: Tensor, strong: Tensor, data_samples: Optional[List[DataSample]] = None
    ) -> Dict[str, Tensor]:
        """The self-labelling term: confident clusters of a weak view supervise a strong view.

        Args:
            weak (Tensor): Weakly augmented view, shape (B, 3, H, W).
            strong (Tensor): Strongly augmented view of the same images.
            data_samples (list, optional): For the record of pseudo-labels.

        Returns:
            dict: ``loss_selflabel`` (weighted) and ``confident_share`` of the global batch.
        """
        teacher = self.head.self_label.teacher
        weak, strong = self.shared_features([weak, strong])
        with torch.no_grad():
            if teacher == 'momentum':
                if not self.contrastive:
                    self.update_momentum_encoder()
                target = self.project_key(weak)
            else:
                target = self.project(weak)
        zc_weak, zc_strong = (
            self.head.normalize(self.cluster_logits(z))[:, : self.head.num_clusters]
            for z in (target, self.project(strong))
        )
        result = self.head.self_label(zc_strong, zc_weak)
        if self.pseudo_labels is not None:
            index = torch.tensor([sample.sample_idx for sample in data_samples])
            self.pseudo_labels.record(index.to(strong.device), result['labels'])
        return dict(
            loss_selflabel=self.self_label_weight * result['loss'],
            confident_share=result['confident_share'],
        )

    @torch.no_grad()
    def predict(
        self, inputs: Tensor, data_samples: Optional[List[DataSample]] = None
    ) -> List[DataSample]:
        """Cluster probabilities of images (B, 3, H, W); see :meth:`CDCHead.predict`."""
        return self.head.predict(self.extract_z(self.backbone(inputs)), data_samples)

    def extract_z(self, features: Tuple[Tensor, ...]) -> Tensor:
        """The z that clusters are read from, (B, K + C), of the backbone's output."""
        return self.cluster_logits(self.neck(features)[0])


def _follow_query_encoder(model: BaseCDC, incompatible_keys) -> None:
    """After loading a checkpoint without a momentum encoder, start it from the query encoder."""
    own = {f'momentum_encoder.{name}' for name, _ in model.momentum_encoder.named_parameters()}
    if own <= set(incompatible_keys.missing_keys):
        model.copy_to_momentum_encoder()
