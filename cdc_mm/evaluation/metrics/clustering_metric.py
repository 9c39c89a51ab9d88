import heapq
import zlib
from typing import List, Optional, Sequence

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from mmpretrain.registry import METRICS

from cdc_mm.datasets.transforms import is_blank
from cdc_mm.errors import RunError

from ..functional import (
    agreement,
    cluster_stability,
    label_metrics,
    linear_consistency,
    silhouette,
    size_metrics,
)

# Rows that the figures of a fixed space are computed from: at most this many, or so many a cluster.
_MAX_ROWS, _ROWS_A_CLUSTER = 2000, 20
_SIDE = 16  # pixels of an image that serve as its row


@METRICS.register_module()
class ClusteringMetric(BaseMetric):
    """Clustering quality of the network's own predictions (argmax of ``pred_score``).

    With labels: ACC, NMI and ARI in percent, and many-to-one accuracy under its own name when the
    number of clusters differs from the number of classes. Without labels it says so and reports
    what needs none: cluster sizes, their entropy, the mean confidence. Labels serve only to
    measure here.

    How sure the clusters are is said without labels, too, by what :func:`linear_consistency` (in
    percent) and :func:`silhouette` give in a space of features that is fixed, so that runs on the
    same images can be compared by them: the rows of a frozen encoder, or else the images
    themselves at 16x16 pixels. Rows of an encoder that is trained are another space in each run.
    Where the model has several heads there is the :func:`agreement` of their clusters with each
    other and the :func:`cluster_stability` of the prediction among them.

    Args:
        collect_device (str): Where ranks collect their results, ``cpu`` or ``gpu``.
        prefix (str, optional): Prefix of the metric names. Defaults to ``clustering``.
    """

    default_prefix = 'clustering'

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep of each sample what it was given, its label if there is one, and of some the row.

        Args:
            data_batch (dict): Its ``inputs`` are the images or the rows.
            data_samples (Sequence[dict]): With ``pred_score`` and ``pred_label``; and ``row`` and
                ``head_labels`` where the model gives them.
        """
        if not self.results:
            self._kept = []  # a heap of those that have a row: the last in line first
        inputs = data_batch.get('inputs', ())
        # Of test-time augmentation each image has several.
        inputs = inputs if len(inputs) == len(data_samples) else [None] * len(data_samples)
        for image, sample in zip(inputs, data_samples):
            if is_blank(sample):
                self.results.append(None)
                continue
            score = sample['pred_score']
            heads = sample.get('head_labels')
            result = dict(
                cluster=int(sample['pred_label']),
                confidence=float(score.max()),
                num_clusters=len(score),
                label=int(sample['gt_label']) if 'gt_label' in sample else None,
                heads=None if heads is None else heads.tolist(),
            )
            self._keep_row(result, sample.get('row', image), sample)
            self.results.append(result)

    def _keep_row(self, result: dict, image: Optional[torch.Tensor], sample: dict) -> None:
        # By a hash of its number, so that order and number of ranks do not matter.
        number = sample.get('sample_idx', len(self.results))
        place = zlib.crc32(str(number).encode())
        limit = _max_rows(result['num_clusters'])
        if len(self._kept) == limit and place >= -self._kept[0][0]:
            return
        row = _as_row(image)
        if row is None:
            return
        result.update(row=row, place=place)
        entry = (-place, len(self.results), result)
        if len(self._kept) < limit:
            heapq.heappush(self._kept, entry)
        else:
            heapq.heapreplace(self._kept, entry)[2].pop('row')

    def compute_metrics(self, results: List[Optional[dict]]) -> dict:
        """Compute the metrics of all samples.

        Args:
            results (list): What was kept of each sample; None for an image that could not be read.

        Returns:
            dict: See :func:`label_metrics` and :func:`size_metrics`; ``num_samples`` and
            ``mean_confidence`` (percent); ``linear_cv`` (percent) and ``silhouette``; of several
            heads ``head_agreement`` and ``head_stability`` of each cluster.

        Raises:
            RunError: If no image could be read, or a row is not finite.
        """
        read = [result for result in results if result is not None]
        if len(read) < len(results):
            MMLogger.get_current_instance().warning(
                f'{len(results) - len(read)} of {len(results)} images could not be read and are '
                'left out of the metrics.'
            )
        if not read:
            raise RunError('no image of the evaluation data could be read')
        clusters, confidences, labels = (
            [result[name] for result in read] for name in ('cluster', 'confidence', 'label')
        )
        clusters, num_clusters = np.array(clusters), read[0]['num_clusters']
        metrics = {}
        if None in labels:
            MMLogger.get_current_instance().info(
                f'No labels for {labels.count(None)} of {len(labels)} images: ACC, NMI and ARI '
                'are left out.'
            )
        else:
            metrics.update(label_metrics(np.array(labels), clusters, num_clusters))
        metrics.update(num_samples=len(read), mean_confidence=float(100 * np.mean(confidences)))
        metrics.update(_certainty(read, num_clusters))
        metrics.update(_heads(read, clusters, num_clusters))
        metrics.update(size_metrics(clusters, num_clusters))
        return metrics


def _max_rows(num_clusters: int) -> int:
    return max(_MAX_ROWS, _ROWS_A_CLUSTER * num_clusters)


def _as_row(image: Optional[torch.Tensor]) -> Optional[np.ndarray]:
    """A row (D,) as it is, an image (C, H, W) shrunk to one; None of anything else."""
    if not isinstance(image, torch.Tensor) or image.ndim not in (1, 3):
        return None
    if image.ndim == 3:
        image = torch.nn.functional.adaptive_avg_pool2d(image.float(), _SIDE).flatten()
    return image.cpu().numpy()


def _certainty(read: List[dict], num_clusters: int) -> dict:
    """What a fixed space says."""
    kept = sorted((r for r in read if 'row' in r), key=lambda result: result['place'])
    kept = kept[: _max_rows(num_clusters)]
    if not kept:
        return {}
    rows = np.stack([result['row'] for result in kept])
    clusters = np.array([result['cluster'] for result in kept])
    if not np.isfinite(rows).all():
        raise RunError('the features of images are not finite: the encoder or an image is broken')
    options = dict(max_rows=len(kept))
    return dict(
        linear_cv=100 * linear_consistency(rows, clusters, num_clusters, **options),
        silhouette=silhouette(rows, clusters, **options),
    )


def _heads(read: List[dict], clusters: np.ndarray, num_clusters: int) -> dict:
    """What several heads say of each other."""
    heads = [result['heads'] for result in read]
    if None in heads or len(heads[0]) < 2:
        return {}
    heads = np.array(heads).T
    return dict(
        head_agreement=float(agreement(heads).mean()),
        head_stability=cluster_stability(clusters, heads, num_clusters).tolist(),
    )
