import heapq
from collections import Counter, defaultdict
from pathlib import Path
from typing import Union

import mmcv
import numpy as np
from mmengine.dist import collect_results, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop
from mmpretrain.registry import HOOKS

from cdc_mm.datasets.transforms import is_blank
from cdc_mm.visualization import draw_contact_sheet
from cdc_mm.wrappers import unwrap_model


@HOOKS.register_module()
class ContactSheetHook(Hook):
    """After validation and test, draw the most confident images of every cluster.

    Writes ``contact_sheet.png`` into the work dir, one row per cluster, largest cluster first, and
    sends the picture to the visual backends. Labels are not shown: the picture is what an
    unlabelled folder gives too.

    Args:
        images_per_cluster (int): Images in a row. Defaults to 10.
        max_clusters (int): Rows at most; smaller clusters are left out. Defaults to 50.
    """

    def __init__(self, images_per_cluster: int = 10, max_clusters: int = 50) -> None:
        for name, value in (
            ('images_per_cluster', images_per_cluster),
            ('max_clusters', max_clusters),
        ):
            if value < 1:
                raise ValueError(f'{name} must be at least 1, got {value}')
        self.images_per_cluster = images_per_cluster
        self.max_clusters = max_clusters

    def before_val_epoch(self, runner) -> None:
        """Start an empty sheet."""
        self._sizes = Counter()
        self._best = defaultdict(list)  # cluster -> heap of (confidence, tie-breaker, image)

    def before_test_epoch(self, runner) -> None:
        """Start an empty sheet."""
        self.before_val_epoch(runner)

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Keep the images that belong on the sheet."""
        for image, sample in zip(data_batch['inputs'], outputs, strict=True):
            if is_blank(sample):
                continue
            cluster, confidence = int(sample.pred_label), float(sample.pred_score.max())
            self._sizes[cluster] += 1
            heap = self._best[cluster]
            if len(heap) < self.images_per_cluster:
                keep = heapq.heappush
            elif confidence > heap[0][0]:
                keep = heapq.heapreplace
            else:
                continue
            # Of stored rows the number of the image, to be read when the sheet is drawn.
            if image.ndim == 1:
                kept = sample.sample_idx
            else:
                kept = image.permute(1, 2, 0).cpu().numpy().copy()
            keep(heap, (confidence, -self._sizes[cluster], kept))

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Keep the images that belong on the sheet."""
        self.after_val_iter(runner, batch_idx, data_batch, outputs)

    def after_val_epoch(self, runner, metrics=None) -> None:
        """Draw the sheet."""
        self._draw(runner, 'val_loop')

    def after_test_epoch(self, runner, metrics=None) -> None:
        """Draw the sheet."""
        self._draw(runner, 'test_loop')

    def _draw(self, runner, loop: str) -> None:
        parts = collect_results([(self._sizes, self._best)], get_world_size())
        if not is_main_process():
            return
        sizes = sum((part[0] for part in parts), Counter())
        rows = []
        for cluster, size in sizes.most_common(self.max_clusters):
            entries = sorted(
                (entry for _, best in parts for entry in best.get(cluster, [])),
                key=lambda entry: entry[:2],
                reverse=True,
            )[: self.images_per_cluster]
            title = f'cluster {cluster}\n{size} images'
            rows.append((title, [picture(runner, loop, image) for _, _, image in entries]))
        sheet = draw_contact_sheet(rows)
        path = Path(runner.work_dir) / 'contact_sheet.png'
        mmcv.imwrite(sheet[..., ::-1], str(path))
        # A test has no training loop, and runner.iter would build one, with the training data.
        step = runner.iter if isinstance(runner._train_loop, BaseLoop) else 0
        runner.visualizer.add_image('contact_sheet', sheet, step=step)
        left_out = len(sizes) - len(rows)
        runner.logger.info(
            f'Contact sheet: {path}' + (f' ({left_out} smaller clusters left out)' * (left_out > 0))
        )


def picture(runner, loop: str, image: Union[np.ndarray, int]) -> np.ndarray:
    """An image (H, W, C) in the order RGB.

    Args:
        runner (Runner): The runner.
        loop (str): Its ``val_loop`` or ``test_loop``.
        image (np.ndarray | int): As the data set gives it; of a :class:`FeatureDataset` its number.
    """
    if isinstance(image, np.ndarray):
        return to_rgb(runner, image)
    return getattr(runner, loop).dataloader.dataset.picture(image)


def to_rgb(runner, image: np.ndarray) -> np.ndarray:
    """An image (H, W, C) as the data set gives it, in the order RGB."""
    bgr = getattr(unwrap_model(runner.model).data_preprocessor, '_channel_conversion', False)
    return image[..., ::-1] if bgr else image
