from pathlib import Path
from typing import Optional

import mmcv
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS

from cdc_mm.datasets.transforms import is_blank
from cdc_mm.visualization import draw_caption
from cdc_mm.wrappers import unwrap_model

from .contact_sheet_hook import picture


@HOOKS.register_module()
class PictureHook(Hook):
    """In a test, draw images with the predicted cluster (or class) and its confidence below.

    Against mmpretrain's ``VisualizationHook``: colours are right whatever the order of the channels
    that the model takes, small images are enlarged, and images of the same name in different
    folders do not overwrite each other.

    Args:
        out_dir (str, optional): Where to write ``<number>_<name>.png``, the number being the place
            in the data set. Defaults to None, nowhere.
        interval (int): Every how many images of the data set one is drawn. Defaults to 1.
        show (bool): Whether to show them in a window. Defaults to False.
        wait_time (float): Seconds that a window stays. Defaults to 2.

    Raises:
        ValueError: If ``interval`` is less than 1.
    """

    def __init__(
        self,
        out_dir: Optional[str] = None,
        interval: int = 1,
        show: bool = False,
        wait_time: float = 2,
    ) -> None:
        if interval < 1:
            raise ValueError(f'interval must be at least 1, got {interval}')
        self.out_dir = out_dir
        self.interval = interval
        self.show = show
        self.wait_time = wait_time

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Draw the images of a batch whose turn it is."""
        kind = 'cluster' if hasattr(unwrap_model(runner.model), 'num_clusters') else 'class'
        for image, sample in zip(data_batch['inputs'], outputs, strict=True):
            if sample.sample_idx % self.interval or is_blank(sample):
                continue
            label, confidence = int(sample.pred_label), float(sample.pred_score.max())
            image = image.permute(1, 2, 0).cpu().numpy() if image.ndim == 3 else sample.sample_idx
            pixels = picture(runner, 'test_loop', image)
            drawn = draw_caption(pixels, f'{kind} {label} ({confidence:.2f})')
            name = f'{sample.sample_idx:06d}'
            if 'img_path' in sample:
                name += f'_{Path(sample.img_path).stem}'
            if self.out_dir is not None:
                mmcv.imwrite(drawn[..., ::-1], str(Path(self.out_dir) / f'{name}.png'))
            if self.show:
                runner.visualizer.show(drawn, win_name=name, wait_time=self.wait_time)

    def after_test_epoch(self, runner, metrics=None) -> None:
        """Say where they are."""
        if self.out_dir is not None:
            runner.logger.info(f'Pictures: {self.out_dir}')
