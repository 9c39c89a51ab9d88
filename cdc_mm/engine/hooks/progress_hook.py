import time
from datetime import timedelta

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, EpochBasedTrainLoop
from mmpretrain.registry import HOOKS

from cdc_mm.console import Meter, say, wipe
from cdc_mm.evaluation.functional import metrics_in_words

_SMOOTHED = 10  # iterations that a figure is the mean of, as in the log


@HOOKS.register_module()
class ProgressHook(Hook):
    """Shows a run on the console: a bar, a line for each validation, where things are.

    The bar has the time left, the loss and what else the model reports that is no loss. Without a
    terminal it is a line now and then (:class:`cdc_mm.console.Meter`). The tools add this hook to
    every run.
    """

    priority = 'VERY_LOW'  # after the metrics of an iteration are written down

    def __init__(self) -> None:
        self.log_told = False

    def before_run(self, runner) -> None:
        """Say where the full log is."""
        if not self.log_told:
            self._say(runner, f'log: {runner.logger.log_file}')
            self.log_told = True

    def before_train(self, runner) -> None:
        """Start the clock."""
        self._start = time.monotonic()
        self._training = Meter(runner.max_iters, runner.iter)
        if runner.iter:
            self._say(runner, f'goes on after {_place(runner)}')

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Show place, time left and figures."""
        if not (runner.rank == 0 and self._training.due):
            return
        names = ['loss', *(name for name in outputs if 'loss' not in name)]
        means = {
            name: runner.message_hub.get_scalar(f'train/{name}').mean(_SMOOTHED)
            for name in names
            if f'train/{name}' in runner.message_hub.log_scalars
        }
        figures = ', '.join(f'{name} {value:.3g}' for name, value in means.items())
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            place = f'epoch {runner.epoch + 1}/{runner.max_epochs}'
            if len(runner.train_dataloader) > 1:
                place += f', batch {batch_idx + 1}/{len(runner.train_dataloader)}'
        else:
            place = f'iteration {runner.iter + 1}/{runner.max_iters}'
        self._training.show(runner.iter + 1, place, figures)

    def after_train(self, runner) -> None:
        """Say what has been trained and where it is."""
        took = timedelta(seconds=round(time.monotonic() - self._start))
        self._say(runner, f'trained to {_place(runner)} in {took}')
        checkpoint = runner.message_hub.runtime_info.get('last_ckpt')
        if checkpoint:
            self._say(runner, f'checkpoint: {checkpoint}')

    def before_val_epoch(self, runner) -> None:
        """Start a meter of its own."""
        self._meter = Meter(len(runner.val_dataloader))

    def before_test_epoch(self, runner) -> None:
        """Start a meter of its own."""
        self._meter = Meter(len(runner.test_dataloader))

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Show how far the validation is."""
        if runner.rank == 0 and self._meter.due:
            self._meter.show(batch_idx + 1, f'validation, batch {batch_idx + 1}')

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Show how far the test is."""
        if runner.rank == 0 and self._meter.due:
            self._meter.show(batch_idx + 1, f'test, batch {batch_idx + 1}')

    def after_val_epoch(self, runner, metrics=None) -> None:
        """One line with the metrics."""
        # Without a training loop, runner.epoch would build one, with the training data.
        place = _place(runner) if isinstance(runner._train_loop, BaseLoop) else 'validation'
        self._say(runner, f'{place}: {metrics_in_words(metrics)}')

    def after_test_epoch(self, runner, metrics=None) -> None:
        """One line with the metrics."""
        if metrics:
            self._say(runner, f'test: {metrics_in_words(metrics)}')

    @staticmethod
    def _say(runner, text: str) -> None:
        if runner.rank == 0:
            say(text)

    def after_run(self, runner) -> None:
        """Leave a clean console."""
        wipe()


def _place(runner) -> str:
    if isinstance(runner.train_loop, EpochBasedTrainLoop):
        return f'epoch {runner.epoch}'
    return f'iteration {runner.iter}'
