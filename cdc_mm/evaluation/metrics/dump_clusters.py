from typing import List, Optional, Sequence

from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from mmpretrain.registry import METRICS

from cdc_mm.datasets.transforms import is_blank
from cdc_mm.tables import write_csv


@METRICS.register_module()
class DumpClusters(BaseMetric):
    """Write which image is in which cluster as a table, in the order of the data set.

    The columns are ``image`` (its path, or its index if the data set is no folder of files),
    ``cluster`` (argmax of ``pred_score``, from 0) and ``confidence`` (that maximum, in [0, 1]).
    Both are empty for an image that could not be read.

    Args:
        out_file_path (str): The table, a ``.csv`` file.
        collect_device (str): Where ranks collect their results, ``cpu`` or ``gpu``.
        collect_dir (str, optional): Where they leave them for each other if that is ``cpu``.

    Raises:
        ValueError: If ``out_file_path`` is no ``.csv`` file.
    """

    default_prefix = 'clusters'  # no metric has it, but mmengine warns of none

    def __init__(
        self,
        out_file_path: str,
        collect_device: str = 'cpu',
        collect_dir: Optional[str] = None,
    ) -> None:
        super().__init__(collect_device=collect_device, collect_dir=collect_dir)
        if not out_file_path.endswith('.csv'):
            raise ValueError(f'the table must be a .csv file, got {out_file_path}')
        self.out_file_path = out_file_path

    def process(self, data_batch: Sequence[dict], data_samples: Sequence[dict]) -> None:
        """Keep the row of each sample."""
        for sample in data_samples:
            image = sample.get('img_path', sample.get('sample_idx'))
            if is_blank(sample):
                self.results.append((image, '', ''))
                continue
            confidence = float(sample['pred_score'].max())
            self.results.append((image, int(sample['pred_label']), f'{confidence:.4f}'))

    def compute_metrics(self, results: List[tuple]) -> dict:
        """Write the table.

        Args:
            results (list): (image, cluster, confidence) of each sample.

        Returns:
            dict: Nothing.
        """
        write_csv(self.out_file_path, ('image', 'cluster', 'confidence'), results)
        MMLogger.get_current_instance().info(f'The cluster of each image: {self.out_file_path}')
        return {}
