from typing import List, Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmpretrain.registry import METRICS
from mmpretrain.structures import label_to_onehot

from ..functional import class_average_precisions, per_image_average_precision


@METRICS.register_module()
class VOC07Metric(BaseMetric):
    """The two figures that papers report on VOC07 classification, each under its own name.

    ``class_map`` is the field's: average precision of each class over the images (area under the
    interpolated curve), averaged over the classes. ``per_image_ap`` is AdCo's: average precision of
    each image over the classes, averaged over the images. Both in percent. Objects marked difficult
    do not count.

    Args:
        collect_device (str): Where ranks collect their results, ``cpu`` or ``gpu``.
        prefix (str, optional): Prefix of the metric names. Defaults to ``voc07``.
    """

    default_prefix = 'voc07'

    def process(self, data_batch: Sequence[dict], data_samples: Sequence[dict]) -> None:
        """Keep the targets and the scores of each sample."""
        for sample in data_samples:
            score = sample['pred_score'].cpu()
            target = label_to_onehot(sample['gt_label'].cpu(), len(score))
            self.results.append((target.numpy(), score.numpy()))

    def compute_metrics(self, results: List[tuple]) -> dict:
        """Compute both figures of all samples.

        Args:
            results (list): (targets, scores) of each sample, shape (C,) each.

        Returns:
            dict: ``class_map``, over the classes that occur, and ``per_image_ap``, in percent.
        """
        targets, scores = (np.stack(values) for values in zip(*results))
        return dict(
            class_map=float(100 * np.nanmean(class_average_precisions(targets, scores))),
            per_image_ap=100 * per_image_average_precision(targets, scores),
        )
