from typing import Sequence, Tuple

import numpy as np
import torch
from mmengine.dist import broadcast, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, EpochBasedTrainLoop
from mmpretrain.registry import HOOKS
from torch import Tensor

from cdc_mm.evaluation.functional import align_clusters, unit_rows
from cdc_mm.wrappers import unwrap_model

from .broadcast_bn_hook import broadcast_bn
from .training_rows import cluster_training_rows, look_at_training_rows


@HOOKS.register_module()
class ReclusterHook(Hook):
    """At some moments of a training, lets k-means on the features say what the clusters are.

    A clusterer that learns with its features commits itself early, when they are not good yet, and
    keeps to it. So at each moment the rows of all training images (of unit length) are clustered
    anew; for some epochs these clusters are the targets in place of the assigner's. They keep the
    numbers of the present clusters that they share most images with. No label is looked at.

    One rank clusters, all get the same. The targets are state of the model, so that a training
    that is resumed goes on as if it had not been interrupted.

    Args:
        moments (Sequence[float]): When, as shares of the training, in [0, 1). Defaults to 0.3 and
            0.6.
        duration (float): For how long, as a share of the training. Defaults to 0.1.
        restarts (int): Of k-means; the one of least inertia counts. Defaults to 10.
        smoothing (float): Share of a target that is spread evenly over all clusters, in [0, 1).
            Defaults to 0.1.

    Raises:
        ValueError: If a value is out of range.
    """

    def __init__(
        self,
        moments: Sequence[float] = (0.3, 0.6),
        duration: float = 0.1,
        restarts: int = 10,
        smoothing: float = 0.1,
    ) -> None:
        if not moments or not all(0 <= moment < 1 for moment in moments):
            raise ValueError(f'moments must be shares of the training, 0 to 1, got {moments}')
        if not 0 < duration <= 1:
            raise ValueError(f'duration must be a share of the training, 0 to 1, got {duration}')
        if restarts < 1:
            raise ValueError(f'restarts must be at least 1, got {restarts}')
        if not 0 <= smoothing < 1:
            raise ValueError(f'smoothing must be at least 0 and below 1, got {smoothing}')
        self.moments = sorted(moments)
        self.duration = duration
        self.restarts = restarts
        self.smoothing = smoothing

    def phases(self, max_epochs: int) -> Sequence[Tuple[int, int]]:
        """First epoch and the one after the last, counted from 0, of each time with targets."""
        length = max(1, round(self.duration * max_epochs))
        starts = [round(moment * max_epochs) for moment in self.moments]
        return [(start, start + length) for start in starts]

    def before_run(self, runner) -> None:
        """Make room for the targets, before a checkpoint is loaded.

        Raises:
            ValueError: If the training goes by iterations, the model takes no targets, or there are
                fewer images than clusters.
        """
        if not isinstance(runner._train_loop, BaseLoop):
            return
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise ValueError('ReclusterHook counts in epochs: use train_cfg=dict(by_epoch=True)')
        model, images = unwrap_model(runner.model), len(runner.train_dataloader.dataset)
        if images < model.num_clusters:
            raise ValueError(
                f'{images} images cannot be clustered into num_clusters={model.num_clusters}'
            )
        self._targets = model.take_targets(images)
        self._targets.smoothing = self.smoothing

    def before_train_epoch(self, runner) -> None:
        """Cluster anew if it is time, and say whether the clusters are targets in this epoch."""
        phases = self.phases(runner.max_epochs)
        # A training that is resumed within an epoch has its targets already.
        begins = runner.iter == runner.epoch * len(runner.train_dataloader)
        if begins and any(runner.epoch == start for start, _ in phases):
            self._recluster(runner)
        self._targets.active = any(start <= runner.epoch < end for start, end in phases)

    def _recluster(self, runner) -> None:
        model = unwrap_model(runner.model)
        broadcast_bn(model)

        @torch.no_grad()
        def look(rows: Tensor) -> Tuple[np.ndarray, np.ndarray]:
            scores = model.scores(rows.to(self._targets.labels.device))
            return rows.cpu().numpy(), scores.argmax(1).cpu().numpy()

        numbers, rows, before = look_at_training_rows(runner.cfg, model, look)
        labels = torch.full_like(self._targets.labels, -1)
        if is_main_process():
            seed = (runner.seed or 0) + runner.epoch
            after = cluster_training_rows(unit_rows(rows), model.num_clusters, self.restarts, seed)
            after = align_clusters(after, before, model.num_clusters)
            labels[torch.from_numpy(numbers)] = torch.from_numpy(after).to(labels)
            moved = float((after != before).mean())
            sizes = np.bincount(after, minlength=model.num_clusters)
            runner.visualizer.add_scalars({'recluster/moved': moved}, step=runner.epoch)
            runner.logger.info(
                f'Clustered anew before epoch {runner.epoch + 1}: {100 * moved:.1f} % of '
                f'{len(after)} images moved; clusters of {sizes.min()} to {sizes.max()} images.'
            )
        broadcast(labels)
        self._targets.labels.copy_(labels)
