from typing import Tuple

import numpy as np
import torch
from mmengine.dist import broadcast, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, EpochBasedTrainLoop
from mmpretrain.registry import HOOKS

from cdc_mm.evaluation.functional import unit_rows
from cdc_mm.models.layers import FeatureClusters
from cdc_mm.wrappers import unwrap_model

from .broadcast_bn_hook import broadcast_bn
from .training_rows import cluster_training_rows, look_at_training_rows, training_rows_loader


@HOOKS.register_module()
class FeatureClustersHook(Hook):
    """Before the first epoch and after each one, clusters the features of all training images.

    For models that learn from such clusters, as PCL, ProPos and DeepCluster do: they have them as
    ``feature_clusters``. What is clustered by k-means are their rows ``z`` of unit norm, as they
    remember them from the epoch, or of a pass over the images without augmentation. No label is
    looked at.

    One rank clusters, all get the same. The clusters are state of the model, so that a training
    that is resumed goes on as if it had not been interrupted.

    Args:
        warmup (float): For how long the clusters are not used, as a share of the training, in
            [0, 1). Defaults to 0.
        restarts (int): Of k-means; the one of least inertia counts. Defaults to 1.

    Raises:
        ValueError: If a value is out of range.
    """

    def __init__(self, warmup: float = 0.0, restarts: int = 1) -> None:
        if not 0 <= warmup < 1:
            raise ValueError(f'warmup must be a share of the training, 0 to 1, got {warmup}')
        if restarts < 1:
            raise ValueError(f'restarts must be at least 1, got {restarts}')
        self.warmup = warmup
        self.restarts = restarts
        self._loader = None

    def before_run(self, runner) -> None:
        """Make room for the clusters, before a checkpoint is loaded.

        Raises:
            ValueError: If the training goes by iterations, the model learns from no such clusters,
                or there are fewer images than clusters.
        """
        if not isinstance(runner._train_loop, BaseLoop):
            return
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise ValueError('FeatureClustersHook counts in epochs: use train_cfg.by_epoch=True')
        model, images = unwrap_model(runner.model), len(runner.train_dataloader.dataset)
        self._clusters = getattr(model, 'feature_clusters', None)
        if not isinstance(self._clusters, FeatureClusters):
            raise ValueError(
                f'{type(model).__name__} learns from no clusters of its features: leave '
                'FeatureClustersHook out'
            )
        most = max(self._clusters.num_clusters)
        if images < most:
            raise ValueError(f'{images} images cannot be clustered into {most} clusters')
        self._clusters.start(images)

    def before_train(self, runner) -> None:
        """Cluster, unless the training is resumed."""
        if runner.iter == 0:
            self._cluster(runner)

    def before_train_epoch(self, runner) -> None:
        """Say whether the clusters are used in this epoch."""
        self._clusters.active = runner.epoch >= round(self.warmup * runner.max_epochs)

    def after_train_epoch(self, runner) -> None:
        """Cluster anew: for validation, the checkpoint and the next epoch."""
        self._cluster(runner)

    def _cluster(self, runner) -> None:
        clusters = self._clusters
        numbers, rows = self._rows(runner)
        if is_main_process():
            self._enter(numbers, unit_rows(rows), (runner.seed or 0) + runner.epoch)
        for buffer in clusters.buffers():
            broadcast(buffer)

    def _enter(self, numbers: np.ndarray, rows: np.ndarray, seed: int) -> None:
        """Cluster the rows of the images with these numbers, of unit norm."""
        clusters, device = self._clusters, self._clusters.centers.device
        labels = [
            torch.from_numpy(cluster_training_rows(rows, count, self.restarts, seed + i))
            for i, count in enumerate(clusters.num_clusters)
        ]
        clusters.enter(
            torch.from_numpy(numbers).to(device),
            torch.from_numpy(rows).to(clusters.centers),
            [own.to(device, torch.long) for own in labels],
        )

    def _rows(self, runner) -> Tuple[np.ndarray, np.ndarray]:
        """Numbers (N,) and rows (N, D) of the images, the same on every rank."""
        model, memory = unwrap_model(runner.model), self._clusters.memory
        if memory is not None and memory.any():
            numbers = memory.any(dim=1).nonzero().flatten()
            return numbers.cpu().numpy(), memory[numbers].cpu().numpy()
        broadcast_bn(model)
        source = getattr(model, 'clustered', model)
        if self._loader is None:  # opening the data takes longer than small data to encode
            self._loader = training_rows_loader(runner.cfg)
        return look_at_training_rows(
            runner.cfg,
            source,
            lambda rows: (rows.cpu().numpy(),),
            output='z',
            loader=self._loader,
        )
