import math
from typing import Dict, List, Optional

import torch
from mmengine.logging import MessageHub
from mmpretrain.registry import MODELS
from torch import Tensor

from ..utils import gather_rows
from .momentum_cdc import MomentumCDC

_CLUSTER_OUTPUTS = ('projector', 'predictor')


@MODELS.register_module()
class CDCMoCoV3(MomentumCDC):
    """Contrastive representation disentanglement for clustering, in the MoCo v3 framework.

    Queries go through projector and predictor, keys through the projector of the momentum encoder;
    negatives are the other keys of the global batch. The paper uses it on the full ImageNet
    (section 3.3) with "two MLP heads", projector and predictor. Which of them says the cluster it
    leaves open: here the projector of the base encoder, in training and at test.

    The loss is MoCo v3's, 2 tau times the sum of InfoNCE over both directions, plus alpha times the
    cross-entropy, the mean over both views. The queue holds past zc, for the assigner of a batch
    smaller than K only.

    Args:
        backbone (dict, optional): Config of an encoder or of any backbone; None takes rows. See
            :class:`MomentumCDC` for a frozen one.
        neck (dict): Config of the projector. ``in_channels`` and ``out_channels`` are filled in
            from the encoder and the head when not given.
        predictor (dict): Config of the predictor, a neck. ``in_channels`` and ``out_channels``
            are filled in from the head.
        head (dict): Config of the :class:`CDCHead`.
        momentum (float): Share of the momentum encoder that the first step keeps; rises to 1 by a
            half cosine over the training. Defaults to 0.99, MoCo v3's for ResNet-50.
        cluster_output (str): ``projector`` or ``predictor``: whose zc says the cluster. Defaults
            to ``projector``.
        data_preprocessor (dict, optional): Config of the preprocessor.

    Raises:
        ValueError: If the widths do not fit together or a value is out of range.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        predictor: dict,
        head: dict,
        momentum: float = 0.99,
        cluster_output: str = 'projector',
        **kwargs,
    ) -> None:
        if cluster_output not in _CLUSTER_OUTPUTS:
            raise ValueError(f'cluster_output must be projector or predictor, got {cluster_output}')
        super().__init__(backbone, neck, head, momentum, **kwargs)
        width = dict(in_channels=self.head.out_dim, out_channels=self.head.out_dim)
        self.predictor = MODELS.build({**width, **predictor})
        self.cluster_output = cluster_output
        k = self.num_clusters
        self.queue.start(torch.nn.functional.normalize(torch.randn(k, k), dim=1))

    @property
    def training_only(self) -> tuple:
        """State that only training needs, by the start of its names."""
        names = MomentumCDC.training_only
        return names if self.cluster_output == 'predictor' else (*names, 'predictor.')

    def cluster_logits(self, z: Tensor) -> Tensor:
        """The vector whose zc says the cluster, (B, K + C), from the projector's output."""
        return z if self.cluster_output == 'projector' else self.predictor((z,))[0]

    def current_momentum(self) -> float:
        """``momentum`` at the first iteration, 1 at the last, a half cosine between them."""
        hub = MessageHub.get_current_instance()
        iteration, max_iters = hub.get_info('iter', 0), hub.get_info('max_iters', 0)
        if not max_iters:
            return self.momentum
        return 1 - (1 - self.momentum) * (math.cos(math.pi * iteration / max_iters) + 1) / 2

    def contrast(self, views: List[Tensor], targets: Optional[Tensor] = None) -> Dict[str, Tensor]:
        """Losses of two views and one step of the momentum encoder.

        Args:
            views (list): Two views as :meth:`shared` gives them, B the same on every rank.
            targets (Tensor, optional): See :meth:`CDCHead.loss`.

        Returns:
            dict: See :meth:`CDCHead.loss`.
        """
        self.momentum_encoder.update(self, self.current_momentum())
        num_clusters = self.num_clusters
        past = self.queue.newest(self.head.assigner.num_past(len(views[0]), num_clusters))

        projections = [self.project(x) for x in views]
        queries = [self.predictor((z,))[0] for z in projections]
        keys = [self.head.normalize(self.project_key(x)) for x in views]
        sources = projections if self.cluster_output == 'projector' else queries
        queries, sources = ([self.head.normalize(z) for z in group] for group in (queries, sources))
        zc = [source[:, :num_clusters] for source in sources]

        losses = self.head.loss(
            pairs=[(queries[0], keys[1]), (queries[1], keys[0])],
            negatives=None,
            past=past,
            clusters=[(zc[0], zc[1].detach()), (zc[1], zc[0].detach())],
            targets=targets,
        )
        # The head gives the mean of both directions, MoCo v3 takes their sum times 2 tau.
        losses['loss_infonce'] = 4 * self.head.tau * losses['loss_infonce']
        for part in zc:
            self.queue.enqueue(gather_rows(part.detach()))
        return losses
