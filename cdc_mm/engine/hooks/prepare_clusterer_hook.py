from mmengine.hooks import Hook
from mmengine.runner import BaseLoop
from mmpretrain.registry import HOOKS

from cdc_mm.wrappers import unwrap_model


@HOOKS.register_module()
class PrepareClustererHook(Hook):
    """Tells the model before a training how many images there are, before a checkpoint is loaded.

    The model sizes by it what depends on the data: a queue, a record of pseudo-labels.
    """

    def before_run(self, runner) -> None:
        """Prepare the model, if it is going to be trained and wants to be."""
        model = unwrap_model(runner.model)
        # Where nothing is trained the training data need not be there.
        if isinstance(runner._train_loop, BaseLoop) and hasattr(model, 'prepare'):
            model.prepare(len(runner.train_dataloader.dataset))
