from typing import Tuple

import numpy as np
import torch
from mmengine.dist import broadcast, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, EpochBasedTrainLoop
from mmpretrain.registry import HOOKS
from torch import Tensor

from cdc_mm.errors import RunError
from cdc_mm.evaluation.functional import consensus
from cdc_mm.wrappers import unwrap_model

from .training_rows import look_at_training_rows

# Probabilities that are looked at, in float32: 400 MB.
_MAX_VALUES = 100_000_000


@HOOKS.register_module()
class ConsensusHook(Hook):
    """At the end of a training, lets the heads of least loss predict together.

    The head of least loss alone depends on the seed. Their mean, after clusters were matched, does
    less: see :func:`consensus`. Of very many images, evenly spaced ones are looked at. No label is.

    One rank decides, all get the same, and checkpoints keep it.

    Args:
        share (float): Of the heads that vote, in (0, 1]. Defaults to 0.5.
        restarts (int): Of k-means. Defaults to 10.

    Raises:
        ValueError: If a value is out of range.
    """

    def __init__(self, share: float = 0.5, restarts: int = 10) -> None:
        if not 0 < share <= 1:
            raise ValueError(f'share must be above 0 and at most 1, got {share}')
        if restarts < 1:
            raise ValueError(f'restarts must be at least 1, got {restarts}')
        self.share = share
        self.restarts = restarts

    def before_run(self, runner) -> None:
        """Check that there is something to agree on.

        Raises:
            ValueError: If the training goes by iterations, the model has no heads, or there are
                fewer images than clusters.
        """
        if not isinstance(runner._train_loop, BaseLoop):
            return
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise ValueError('ConsensusHook counts in epochs: use train_cfg=dict(by_epoch=True)')
        model, images = unwrap_model(runner.model), len(runner.train_dataloader.dataset)
        if not hasattr(model, 'head_scores'):
            raise ValueError(
                f'{type(model).__name__} has no heads that could agree: ConsensusHook is for SCAN '
                'and MultiHead'
            )
        if images < model.num_clusters:
            raise ValueError(
                f'{images} images cannot be clustered into num_clusters={model.num_clusters}'
            )

    def after_train_epoch(self, runner) -> None:
        """After the last epoch, before it is saved and tested, find the consensus."""
        if not self.is_last_train_epoch(runner):
            return
        model = unwrap_model(runner.model)
        heads = model.voters(self.share)
        num_voters = len(heads)

        @torch.no_grad()
        def look(rows: Tensor) -> Tuple[np.ndarray]:
            scores = model.head_scores(rows.to(heads.device))[heads]
            return (scores.softmax(dim=2).transpose(0, 1).cpu().numpy(),)

        limit = max(1, _MAX_VALUES // (num_voters * model.num_clusters))
        _, probabilities = look_at_training_rows(runner.cfg, model, look, limit)
        orders = torch.zeros(num_voters, model.num_clusters, dtype=torch.long)
        orders = orders.to(heads.device)
        if is_main_process():
            probabilities = np.ascontiguousarray(probabilities.transpose(1, 0, 2))
            if not np.isfinite(probabilities).all():
                raise RunError('the probabilities of the heads are not finite')
            labels, found = consensus(probabilities, self.restarts, runner.seed or 0)
            orders.copy_(torch.from_numpy(found))
            matched = np.take_along_axis(probabilities, found[:, None], axis=2).argmax(axis=2)
            runner.logger.info(
                f'{num_voters} of {model.num_heads} heads predict together; one of them agrees '
                f'with all in {100 * (matched == labels).mean():.1f} % of {len(labels)} images.'
            )
        broadcast(orders)
        model.vote(heads, orders)
