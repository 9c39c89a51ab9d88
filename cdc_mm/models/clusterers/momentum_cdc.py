from abc import abstractmethod
from typing import Dict, List, Optional, Tuple, Union

import torch
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from ..layers import ClusterTargets, MomentumEncoder, Queue, project_rows
from ..losses import max_confidence
from .base import BaseClusterer, build_backbone, rename_prefix


class MomentumCDC(BaseClusterer):
    """What CDC has in common in MoCo's frameworks: two encoders, a queue and the head.

    A query encoder (encoder and neck) and its momentum encoder give z. Where the encoder is frozen,
    both share its rows, one pass a view, and the momentum encoder is that of the neck alone.

    Args:
        backbone (dict, optional): Config of an encoder or of any backbone; None takes rows.
        neck (dict): Config of the projection MLP. Its ``in_channels`` and ``out_channels`` are
            filled in from the encoder and the head when not given.
        head (dict): Config of the :class:`CDCHead`.
        momentum (float): Share of the momentum encoder that a step keeps, in [0, 1].
        data_preprocessor (dict, optional): Config of the preprocessor.

    Raises:
        ValueError: If the widths of backbone, neck and head do not fit together or a value is out
            of range.
    """

    embeddings: Tuple[str, ...] = ('z', 'zc', 'zn')
    training_only: Tuple[str, ...] = (
        'momentum_encoder.',
        'queue.',
        'targets.',
        'head.assigner.',
    )
    remedies = dict(
        largest_share='lower optim_wrapper.optimizer.lr or model.head.alpha',
        dead_clusters=(
            'lower model.head.assigner.epsilon, or model.head.num_clusters if the data have fewer '
            'kinds of images'
        ),
        entropy='lower model.head.assigner.epsilon or optim_wrapper.optimizer.lr',
        uniform='lower model.head.t or optim_wrapper.optimizer.lr',
        spread='lower optim_wrapper.optimizer.lr or model.head.tau, or raise model.momentum',
    )

    def __init__(
        self,
        backbone: Optional[dict],
        neck: dict,
        head: dict,
        momentum: float,
        data_preprocessor: Optional[Union[dict, nn.Module]] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        if not 0 <= momentum <= 1:
            raise ValueError(f'momentum must be between 0 and 1, got {momentum}')
        head = MODELS.build(head)
        encoder = build_backbone(backbone)
        super().__init__(head.num_clusters, encoder, data_preprocessor, init_cfg)
        widths = dict(out_channels=head.out_dim)
        if encoder is not None and 'in_channels' not in neck:
            widths['in_channels'] = encoder.feat_dim
        self.neck = MODELS.build({**widths, **neck})
        self.head = head
        self._check_widths()
        self.momentum = momentum
        followed = dict(encoder=encoder, neck=self.neck)
        if self.frozen:
            del followed['encoder']
        self.momentum_encoder = MomentumEncoder(followed)
        self.queue = Queue()
        self.targets = ClusterTargets(head.num_clusters)
        self.register_load_state_dict_pre_hook(_look_for_momentum_encoder)
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
        width = None if self.encoder is None else self.encoder.feat_dim
        if width is not None and linears[0].in_features != width:
            raise ValueError(
                f'the backbone puts out {width} channels, but the neck takes '
                f'in_channels={linears[0].in_features}. Leave neck.in_channels out to have it '
                'filled in.'
            )

    @property
    def needs(self) -> Tuple[str, ...]:
        """Two views, and the numbers of the images while clusters of them are targets."""
        return ('view1', 'view2', 'sample_idx') if self.targets.active else ('view1', 'view2')

    def take_targets(self, num_images: int) -> ClusterTargets:
        """See :meth:`BaseClusterer.take_targets`; they stand in for the assigner's."""
        self.targets.start(num_images, self.head.cluster_sizes.device)
        return self.targets

    def init_weights(self) -> None:
        """Initialise the query encoder and copy it into the momentum encoder."""
        super().init_weights()
        self.momentum_encoder.copy_from(self)

    def diagnostics(self) -> dict:
        """See :meth:`BaseClusterer.diagnostics`."""
        loss_module = self.head.loss_module
        return dict(
            cluster_sizes=self.head.cluster_sizes,
            entropy='assign_entropy',
            spread='zn_std',
            uniform=dict(loss_cluster=loss_module.uniform_loss) if loss_module.alpha else {},
        )

    @property
    def max_confidence(self) -> float:
        """The largest probability that the scores can give."""
        if not self.head.normalize_zc:
            return 1.0
        return max_confidence(self.num_clusters, self.head.t)

    def loss(self, batch: Dict[str, Tensor]) -> Dict[str, Tensor]:
        """Contrastive and cluster losses of two views, and one step of momentum encoder and queue.

        Args:
            batch (dict): ``view1`` and ``view2``, images (B, 3, H, W) or rows (B, D) each, B the
                same on every rank; ``sample_idx`` (B,) while clusters of the images are targets.

        Returns:
            dict: See :meth:`CDCHead.loss`.
        """
        targets = self.targets(batch['sample_idx']) if self.targets.active else None
        return self.contrast([self.shared(batch[name]) for name in ('view1', 'view2')], targets)

    @abstractmethod
    def contrast(self, views: List[Tensor], targets: Optional[Tensor] = None) -> Dict[str, Tensor]:
        """Losses of two views as :meth:`shared` gives them, as :meth:`CDCHead.loss` names them."""

    def shared(self, view: Tensor) -> Tensor:
        """What both encoders take of a view: images, or rows where the encoder is frozen.

        Raises:
            ValueError: If it is given rows and the encoder is to be trained.
        """
        if self.frozen:
            return self.encode(view)
        if view.ndim == 2:
            raise ValueError(
                'rows of stored features train the heads of a frozen encoder, and this one is to '
                'be trained: set model.backbone to dict(type="Encoder", backbone=..., freeze=True).'
            )
        return view

    def project(self, x: Tensor) -> Tensor:
        """Z of the query encoder for what :meth:`shared` gives, (B, K + C), not normalised."""
        return project_rows(self.neck, self.encode(x))

    @torch.no_grad()
    def project_key(self, x: Tensor) -> Tensor:
        """Z of the momentum encoder for what :meth:`shared` gives, (B, K + C), not normalised."""
        rows = x if self.frozen else self.momentum_encoder.encoder(x)
        return project_rows(self.momentum_encoder.neck, rows)

    def cluster_logits(self, z: Tensor) -> Tensor:
        """The vector whose zc says the cluster, (B, K + C), from :meth:`project`'s output."""
        return z

    def scores(self, rows: Tensor) -> Tensor:
        """Zc / t of rows (B, D), shape (B, K)."""
        return self.head.scores(self.cluster_logits(project_rows(self.neck, rows)))

    def embed(self, rows: Tensor) -> Dict[str, Tensor]:
        """Z = [zc, zn], zc and zn of rows (B, D), zc and zn of unit norm each."""
        z = self.head.normalize(self.cluster_logits(project_rows(self.neck, rows)))
        return dict(z=z, zc=z[:, : self.num_clusters], zn=z[:, self.num_clusters :])

    def rename_weights(self, state_dict: dict, prefix: str = '') -> None:
        """See :meth:`BaseClusterer.rename_weights`."""
        super().rename_weights(state_dict, prefix)
        momentum = f'{prefix}momentum_encoder.'
        rename_prefix(state_dict, f'{momentum}backbone.', f'{momentum}encoder.backbone.')
        for old, new in (('queue', 'queue.rows'), ('queue_ptr', 'queue.ptr')):
            if prefix + old in state_dict:
                state_dict[prefix + new] = state_dict.pop(prefix + old)


def _look_for_momentum_encoder(model: MomentumCDC, state_dict: dict, prefix: str, *_) -> None:
    model._momentum_is_given = any(
        name.startswith(f'{prefix}momentum_encoder.') for name in state_dict
    )


def _follow_query_encoder(model: MomentumCDC, incompatible_keys) -> None:
    """After loading a checkpoint without a momentum encoder, start it from the query encoder."""
    if not model._momentum_is_given:
        model.momentum_encoder.copy_from(model)
