import torch
from mmengine.dist import broadcast, is_main_process
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS

from cdc_mm.errors import RunError
from cdc_mm.wrappers import unwrap_model

from .training_rows import look_at_training_rows

# Rows that are looked at: enough for their covariance.
_MAX_ROWS = 20_000


@HOOKS.register_module()
class FitRowsHook(Hook):
    """Before the first step, shows a clusterer the rows of the training images.

    By them it finds what training does not change, as principal components (:meth:`fit_rows` of the
    clusterer). Of very many images, evenly spaced ones are shown. No label is.

    One rank looks, all get the same. A training that is resumed has it in its checkpoint.
    """

    def before_train(self, runner) -> None:
        """Show the rows, unless the training is resumed."""
        if runner.iter > 0:
            return
        model = unwrap_model(runner.model)
        (_, rows) = look_at_training_rows(
            runner.cfg, model, lambda rows: (rows.cpu().numpy(),), _MAX_ROWS
        )
        with torch.no_grad():
            if is_main_process():
                try:
                    model.fit_rows(rows)
                except ValueError as error:
                    raise RunError(f'the rows of the training images: {error}') from error
            for value in (*model.parameters(), *model.buffers()):
                broadcast(value)
