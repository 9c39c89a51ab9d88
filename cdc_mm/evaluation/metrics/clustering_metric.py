from typing import List, Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from mmpretrain.registry import METRICS

from cdc_mm.datasets.transforms import is_blank
from cdc_mm.errors import RunError

from ..functional import label_metrics, size_metrics


@METRICS.register_module()
class ClusteringMetric(BaseMetric):
    """Clustering quality of the network's own predictions (argmax of ``pred_score``).

    With labels: ACC, NMI and ARI in percent, and many-to-one accuracy under its own name when the
    number of clusters differs from the number of classes. Without labels it says so and reports
    what needs none: cluster sizes, their entropy, the mean confidence. Labels serve only to
    measure here.

    Args:
        collect_device (str): Where ranks collect their results, ``cpu`` or ``gpu``.
        prefix (str, optional): Prefix of the metric names. Defaults to ``clustering``.
    """

    default_prefix = 'clustering'

    def process(self, data_batch: Sequence[dict], data_samples: Sequence[dict]) -> None:
        """Keep the cluster, the confidence and, if there is one, the label of each sample."""
        for sample in data_samples:
            if is_blank(sample):
                self.results.append(None)
                continue
            score = sample['pred_score']
            label = int(sample['gt_label']) if 'gt_label' in sample else None
            self.results.append((int(sample['pred_label']), float(score.max()), len(score), label))

    def compute_metrics(self, results: List[tuple]) -> dict:
        """Compute the metrics of all samples.

        Args:
            results (list): (cluster, confidence, K, label or None) of each sample; None for an
                image that could not be read.

        Returns:
            dict: See :func:`label_metrics` and :func:`size_metrics`; and ``num_samples`` and
            ``mean_confidence`` (percent).
        """
        read = [result for result in results if result is not None]
        if len(read) < len(results):
            MMLogger.get_current_instance().warning(
                f'{len(results) - len(read)} of {len(results)} images could not be read and are '
                'left out of the metrics.'
            )
        if not read:
            raise RunError('no image of the evaluation data could be read')
        clusters, confidences, ks, labels = zip(*read)
        clusters, num_clusters = np.array(clusters), ks[0]
        metrics = {}
        if None in labels:
            MMLogger.get_current_instance().info(
                f'No labels for {labels.count(None)} of {len(labels)} images: ACC, NMI and ARI '
                'are left out.'
            )
        else:
            metrics.update(label_metrics(np.array(labels), clusters, num_clusters))
        metrics.update(num_samples=len(read), mean_confidence=float(100 * np.mean(confidences)))
        metrics.update(size_metrics(clusters, num_clusters))
        return metrics
