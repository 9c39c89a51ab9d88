import io
from typing import List, Optional, Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from mmpretrain.registry import METRICS

from cdc_mm.atomic import write_atomically
from cdc_mm.datasets.transforms import is_blank
from cdc_mm.tables import write_csv


@METRICS.register_module()
class DumpClusters(BaseMetric):
    """Write which image is in which cluster as a table, in the order of the data set.

    The columns are ``image`` (its path, or its index if the data set is no folder of files),
    ``cluster`` (argmax of ``pred_score``, from 0) and ``confidence`` (that maximum, in [0, 1]).
    Both are empty for an image that could not be read; in an ``.npz`` file, whose arrays have these
    names, they are -1 and 0.

    Args:
        out_file_path (str): The table, a ``.csv`` or ``.npz`` file.
        collect_device (str): Where ranks collect their results, ``cpu`` or ``gpu``.
        collect_dir (str, optional): Where they leave them for each other if that is ``cpu``.

    Raises:
        ValueError: If ``out_file_path`` is neither.
    """

    default_prefix = 'clusters'  # no metric has it, but mmengine warns of none

    def __init__(
        self,
        out_file_path: str,
        collect_device: str = 'cpu',
        collect_dir: Optional[str] = None,
    ) -> None:
        super().__init__(collect_device=collect_device, collect_dir=collect_dir)
        if not out_file_path.endswith(('.csv', '.npz')):
            raise ValueError(f'the table must be a .csv or .npz file, got {out_file_path}')
        self.out_file_path = out_file_path

    def process(self, data_batch: Sequence[dict], data_samples: Sequence[dict]) -> None:
        """Keep the row of each sample."""
        for sample in data_samples:
            image = sample.get('img_path', sample.get('sample_idx'))
            if is_blank(sample):
                self.results.append((image, None, None))
                continue
            confidence = float(sample['pred_score'].max())
            self.results.append((image, int(sample['pred_label']), confidence))

    def compute_metrics(self, results: List[tuple]) -> dict:
        """Write the table.

        Args:
            results (list): (image, cluster, confidence) of each sample; None for what an image
                that could not be read does not have.

        Returns:
            dict: Nothing.
        """
        if self.out_file_path.endswith('.npz'):
            self._write_arrays(results)
            return {}
        rows = (
            (image, '', '') if cluster is None else (image, cluster, f'{confidence:.4f}')
            for image, cluster, confidence in results
        )
        write_csv(self.out_file_path, ('image', 'cluster', 'confidence'), rows)
        MMLogger.get_current_instance().info(f'The cluster of each image: {self.out_file_path}')
        return {}

    def _write_arrays(self, results: List[tuple]) -> None:
        images, clusters, confidences = zip(*results)
        file = io.BytesIO()
        np.savez_compressed(
            file,
            image=np.array([str(image) for image in images]),
            cluster=np.array([-1 if c is None else c for c in clusters], dtype=np.int64),
            confidence=np.array([c or 0.0 for c in confidences], dtype=np.float32),
        )
        write_atomically(self.out_file_path, file.getvalue())
