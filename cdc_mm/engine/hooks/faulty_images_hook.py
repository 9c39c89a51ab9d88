from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS

from cdc_mm.datasets.transforms.load_image import list_file, read_list


@HOOKS.register_module()
class FaultyImagesHook(Hook):
    """Log how many images ``LoadImage`` could not read, whenever their number has grown."""

    def __init__(self) -> None:
        self._count = 0

    def _report(self, runner) -> None:
        file = list_file()
        if file is None or not is_main_process():
            return
        count = len(read_list(file))
        if count > self._count:
            runner.logger.warning(f'{count} images could not be read and were left out: {file}')
            self._count = count

    def after_train_epoch(self, runner) -> None:
        """Report."""
        self._report(runner)

    def after_val_epoch(self, runner, metrics=None) -> None:
        """Report."""
        self._report(runner)

    def after_test_epoch(self, runner, metrics=None) -> None:
        """Report."""
        self._report(runner)
