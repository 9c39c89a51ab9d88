from typing import Callable, Optional, Tuple

import numpy as np
from mmengine.dist import all_gather_object
from mmpretrain.registry import DATASETS
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cdc_mm.errors import RunError
from cdc_mm.evaluation.functional import count_distinct, kmeans_clusters
from cdc_mm.features import evaluation_dataset_cfg, evaluation_loader, iterate_outputs


def look_at_training_rows(
    cfg: dict,
    model: nn.Module,
    look: Callable[[Tensor], Tuple[np.ndarray, ...]],
    limit: Optional[int] = None,
    output: str = 'backbone',
    loader: Optional[DataLoader] = None,
) -> Tuple[np.ndarray, ...]:
    """What a model makes of the training images, without augmentation, gathered from all ranks.

    Args:
        cfg (dict): The run's config.
        model (nn.Module): It is in evaluation mode meanwhile.
        look (Callable): From rows (B, D) to arrays of B entries each.
        limit (int, optional): Of more images than these, evenly spaced ones are looked at.
        output (str): What rows, as of :func:`iterate_outputs`. Defaults to ``backbone``.
        loader (DataLoader, optional): What :func:`training_rows_loader` gives, where it is used
            more than once.

    Returns:
        tuple: The numbers of the images, shape (N,), ascending, then the arrays (N, ...): in the
        order of the data set, which does not depend on the number of ranks.
    """
    loader = training_rows_loader(cfg) if loader is None else loader
    step = 1 if limit is None else max(1, -(-len(loader.dataset) // limit))
    found = []
    for rows, samples in iterate_outputs(model, loader, output):
        numbers = np.array([sample.sample_idx for sample in samples])
        wanted = numbers % step == 0
        found.append((numbers[wanted], *look(rows[wanted])))
    parts = [part for rank in all_gather_object(found) for part in rank]
    numbers, *arrays = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(numbers)
    return numbers[order], *(array[order] for array in arrays)


def training_rows_loader(cfg: dict) -> DataLoader:
    """Loads this rank's share of the training images of a run, without augmentation."""
    return evaluation_loader(cfg, DATASETS.build(evaluation_dataset_cfg(cfg, 'train')))


def cluster_training_rows(
    rows: np.ndarray, num_clusters: int, restarts: int, seed: int
) -> np.ndarray:
    """Clusters of the rows of all training images by k-means.

    Args:
        rows (np.ndarray): Of unit norm, shape (N, D).
        num_clusters (int): K.
        restarts (int): The one of least inertia counts.
        seed (int): Of the starts.

    Returns:
        np.ndarray: Shape (N,), 0 to K - 1.

    Raises:
        RunError: See :func:`check_training_rows`.
    """
    check_training_rows(rows, num_clusters)
    return kmeans_clusters(rows, rows, num_clusters, restarts, seed)


def check_training_rows(rows: np.ndarray, num_clusters: int) -> None:
    """Refuse rows (N, D) that cannot be clustered.

    Raises:
        RunError: If a row is not finite, or there are fewer different rows than clusters.
    """
    if not np.isfinite(rows).all():
        raise RunError('the features are not finite, and cannot be clustered')
    distinct = count_distinct(rows, num_clusters)
    if distinct < num_clusters:
        raise RunError(
            f'the features of {len(rows)} images are only {distinct} different rows, which '
            f'cannot be clustered into num_clusters={num_clusters}: lower it, leave out copies '
            'of images, or, if all features have become the same, lower '
            'optim_wrapper.optimizer.lr'
        )
