import numpy as np
import torch
from mmpretrain.registry import HOOKS

from cdc_mm.evaluation.functional import agglomerate, nearest_groups

from .feature_clusters_hook import FeatureClustersHook
from .training_rows import check_training_rows


@HOOKS.register_module()
class AgglomerateHook(FeatureClustersHook):
    """Every few epochs merges clusters of the training images, for :class:`JULE`.

    The training begins with many small clusters (:func:`nearest_groups`). Each time a share of them
    is merged away by the present features, until K are left; from then on they are merged anew from
    the beginning. The centres, by which the model predicts, are always those of K clusters, to
    which the present ones are merged.

    Args:
        interval (int): Epochs between two times. Defaults to 20, the paper's.
        rate (float): Share of the clusters that is merged away, in (0, 1). Defaults to 0.9, the
            paper's unrolling rate.

    Raises:
        ValueError: If a value is out of range.
    """

    def __init__(self, interval: int = 20, rate: float = 0.9) -> None:
        super().__init__()
        if interval < 1:
            raise ValueError(f'interval must be at least 1, got {interval}')
        if not 0 < rate < 1:
            raise ValueError(f'rate must be between 0 and 1, got {rate}')
        self.interval = interval
        self.rate = rate

    def after_train_epoch(self, runner) -> None:
        """Merge, if it is time."""
        if self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner):
            self._cluster(runner)

    def _enter(self, numbers: np.ndarray, rows: np.ndarray, seed: int) -> None:
        clusters, (count,) = self._clusters, self._clusters.num_clusters
        check_training_rows(rows, count)
        groups = self._groups(numbers, rows, count)
        final = groups if groups.max() < count else agglomerate(rows, groups, count)
        device = clusters.centers.device
        index = torch.from_numpy(numbers).to(device)
        final, groups = (torch.from_numpy(x).to(device, torch.long) for x in (final, groups))
        clusters.enter(index, torch.from_numpy(rows).to(clusters.centers), [final])
        # What training sees are the clusters of this time.
        clusters.labels[0, index] = groups

    def _groups(self, numbers: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
        before = self._clusters.labels[0, torch.from_numpy(numbers)].cpu().numpy()
        if before.min() < 0:
            groups = nearest_groups(rows)
            return groups if groups.max() >= count - 1 else np.arange(len(rows))
        before = np.unique(before, return_inverse=True)[1]
        present = before.max() + 1
        if present > count:
            return agglomerate(rows, before, max(count, round((1 - self.rate) * present)))
        first = nearest_groups(rows)
        return agglomerate(rows, first if first.max() >= count - 1 else np.arange(len(rows)), count)
