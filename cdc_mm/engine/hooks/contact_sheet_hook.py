import heapq
from collections import Counter, defaultdict
from pathlib import Path
from typing import Optional, Union

import mmcv
import numpy as np
from mmengine.dist import collect_results, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop
from mmpretrain.registry import HOOKS

from cdc_mm.datasets.transforms import is_blank
from cdc_mm.visualization import draw_contact_sheet, shrink
from cdc_mm.wrappers import unwrap_model

# The pictures, and whether confident images come first on them.
_SHEETS = {'contact_sheet': 1, 'contact_sheet_least_certain': -1}


@HOOKS.register_module()
class ContactSheetHook(Hook):
    """After validation and test, draw the most and the least confident images of every cluster.

    Writes ``contact_sheet.png`` and ``contact_sheet_least_certain.png``, one row per cluster,
    largest cluster first, and sends the pictures to the visual backends. Labels are not shown: the
    pictures are what an unlabelled folder gives too.

    Args:
        images_per_cluster (int): Images in a row. Defaults to 10.
        max_clusters (int): Rows at most; smaller clusters are left out. Defaults to 50.
        out_dir (str, optional): Where to write. Defaults to the work dir.
    """

    def __init__(
        self, images_per_cluster: int = 10, max_clusters: int = 50, out_dir: Optional[str] = None
    ) -> None:
        for name, value in (
            ('images_per_cluster', images_per_cluster),
            ('max_clusters', max_clusters),
        ):
            if value < 1:
                raise ValueError(f'{name} must be at least 1, got {value}')
        self.images_per_cluster = images_per_cluster
        self.max_clusters = max_clusters
        self.out_dir = out_dir

    def before_val_epoch(self, runner) -> None:
        """Start empty sheets."""
        self._sizes = Counter()
        # Sheet -> cluster -> heap of (how much it belongs there, tie-breaker, image).
        self._best = {name: defaultdict(list) for name in _SHEETS}

    def before_test_epoch(self, runner) -> None:
        """Start empty sheets."""
        self.before_val_epoch(runner)

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Keep the images that belong on the sheets."""
        for image, sample in zip(data_batch['inputs'], outputs, strict=True):
            if is_blank(sample):
                continue
            cluster, confidence = int(sample.pred_label), float(sample.pred_score.max())
            self._sizes[cluster] += 1
            for name, sign in _SHEETS.items():
                self._keep(self._best[name][cluster], sign * confidence, cluster, image, sample)

    def _keep(self, heap: list, value: float, cluster: int, image, sample) -> None:
        if len(heap) < self.images_per_cluster:
            keep = heapq.heappush
        elif value > heap[0][0]:
            keep = heapq.heapreplace
        else:
            return
        # Of stored rows the number of the image, to be read when the sheet is drawn.
        if image.ndim == 1:
            kept = sample.sample_idx
        else:
            kept = shrink(image.permute(1, 2, 0).cpu().numpy())
        keep(heap, (value, -self._sizes[cluster], kept))

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Keep the images that belong on the sheets."""
        self.after_val_iter(runner, batch_idx, data_batch, outputs)

    def after_val_epoch(self, runner, metrics=None) -> None:
        """Draw the sheets."""
        self._draw(runner, 'val_loop')

    def after_test_epoch(self, runner, metrics=None) -> None:
        """Draw the sheets."""
        self._draw(runner, 'test_loop')

    def _draw(self, runner, loop: str) -> None:
        parts = collect_results([(self._sizes, self._best)], get_world_size())
        if not is_main_process():
            return
        sizes = sum((part[0] for part in parts), Counter())
        # A test has no training loop, and runner.iter would build one, with the training data.
        step = runner.iter if isinstance(runner._train_loop, BaseLoop) else 0
        paths = []
        for name in _SHEETS:
            rows = []
            for cluster, size in sizes.most_common(self.max_clusters):
                entries = sorted(
                    (entry for _, best in parts for entry in best[name].get(cluster, [])),
                    key=lambda entry: entry[:2],
                    reverse=True,
                )[: self.images_per_cluster]
                title = f'cluster {cluster}\n{size} images'
                rows.append((title, [picture(runner, loop, image) for _, _, image in entries]))
            sheet = draw_contact_sheet(rows)
            paths.append(Path(self.out_dir or runner.work_dir) / f'{name}.png')
            mmcv.imwrite(sheet[..., ::-1], str(paths[-1]))
            runner.visualizer.add_image(name, sheet, step=step)
        left_out = max(len(sizes) - self.max_clusters, 0)
        runner.logger.info(
            f'Contact sheets: {paths[0]}, {paths[1].name}'
            + (f' ({left_out} smaller clusters left out)' * (left_out > 0))
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
