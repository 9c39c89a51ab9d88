from typing import Callable, Optional, Tuple

import numpy as np
from mmengine.dist import all_gather_object
from mmpretrain.registry import DATASETS
from torch import Tensor, nn

from cdc_mm.features import evaluation_dataset_cfg, evaluation_loader, iterate_outputs


def look_at_training_rows(
    cfg: dict,
    model: nn.Module,
    look: Callable[[Tensor], Tuple[np.ndarray, ...]],
    limit: Optional[int] = None,
) -> Tuple[np.ndarray, ...]:
    """What a model makes of the training images, without augmentation, gathered from all ranks.

    Args:
        cfg (dict): The run's config.
        model (nn.Module): A clusterer; it is in evaluation mode meanwhile.
        look (Callable): From rows (B, D) to arrays of B entries each.
        limit (int, optional): Of more images than these, evenly spaced ones are looked at.

    Returns:
        tuple: The numbers of the images, shape (N,), ascending, then the arrays (N, ...): in the
        order of the data set, which does not depend on the number of ranks.
    """
    dataset = DATASETS.build(evaluation_dataset_cfg(cfg, 'train'))
    step = 1 if limit is None else max(1, -(-len(dataset) // limit))
    found = []
    for rows, samples in iterate_outputs(model, evaluation_loader(cfg, dataset)):
        numbers = np.array([sample.sample_idx for sample in samples])
        wanted = numbers % step == 0
        found.append((numbers[wanted], *look(rows[wanted])))
    parts = [part for rank in all_gather_object(found) for part in rank]
    numbers, *arrays = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(numbers)
    return numbers[order], *(array[order] for array in arrays)
