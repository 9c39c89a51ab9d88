from mmengine.hooks import Hook
from mmengine.runner import BaseLoop
from mmpretrain.registry import HOOKS
from torch import nn

from cdc_mm.models import SelfLabel
from cdc_mm.wrappers import unwrap_model


@HOOKS.register_module()
class SelfLabelHook(Hook):
    """Says when and how strongly the model labels itself (section 2.4 of the paper).

    The model is a :class:`SelfLabel` around a clusterer, and its data have the views ``weak`` and
    ``strong``. Either the term is added to a running training of the clusterer, from an epoch on
    and growing over a ramp, or it fine-tunes a finished checkpoint by itself.

    After each epoch the share of confident images, the clusters without any, and the share of
    labels that changed go to the log and the visual backends (``selflabel/...``).

    Args:
        weight (float): Weight of the term when it is fully on. Defaults to 1.
        start (int): The first epoch, counted from 0, that has the term. Defaults to 0.
        ramp (int): Epochs over which the weight rises linearly to its full value. Defaults to 0.
        finetune (bool): Whether the term is the only one, without the contrastive objective.
            Defaults to False.
    """

    def __init__(
        self, weight: float = 1.0, start: int = 0, ramp: int = 0, finetune: bool = False
    ) -> None:
        if weight <= 0:
            raise ValueError(f'weight must be above 0, got {weight}')
        if start < 0 or ramp < 0:
            raise ValueError(f'start and ramp must not be negative, got {start} and {ramp}')
        if finetune and (start or ramp):
            raise ValueError('with finetune the term is the only one: leave out start and ramp')
        self.weight = weight
        self.start = start
        self.ramp = ramp
        self.finetune = finetune

    def weight_at(self, epoch: int) -> float:
        """The weight in an epoch, counted from 0."""
        if epoch < self.start:
            return 0.0
        return self.weight * min(1.0, (epoch - self.start + 1) / (self.ramp + 1))

    def configure(self, model: nn.Module) -> None:
        """Say whether self-labelling is all there is, and so which views the model needs.

        Args:
            model (nn.Module): A :class:`SelfLabel`.

        Raises:
            ValueError: If it is another model.
        """
        if not isinstance(model, SelfLabel):
            raise ValueError(
                f'SelfLabelHook drives a SelfLabel, and the model is a {type(model).__name__}: '
                "wrap it, model=dict(type='SelfLabel', clusterer=<the model>)."
            )
        model.finetune = self.finetune

    def before_run(self, runner) -> None:
        """Configure the model, if it is going to be trained."""
        if not isinstance(runner._train_loop, BaseLoop):
            return
        model = unwrap_model(runner.model)
        self.configure(model)
        if model.pseudo_labels is None:
            model.prepare(len(runner.train_dataloader.dataset))

    def before_train_epoch(self, runner) -> None:
        """Set the weight of the epoch."""
        unwrap_model(runner.model).weight = self.weight_at(runner.epoch)

    def after_train_epoch(self, runner) -> None:
        """Log what the pseudo-labels did."""
        model = unwrap_model(runner.model)
        if model.weight == 0:
            return
        summary = model.pseudo_labels.finish_epoch()
        runner.visualizer.add_scalars(
            {f'selflabel/{name}': value for name, value in summary.items()}, step=runner.epoch + 1
        )
        runner.logger.info(
            'Self-labelling: '
            f'{100 * summary["confident_share"]:.1f} % of the images are confident, '
            f'{100 * summary["flips"]:.2f} % of the labels changed, '
            f'{summary["dead_clusters"]} of {model.num_clusters} clusters have no confident '
            'image.',
            extra=dict(file_only=True),  # the console shows the share of confident images
        )
        if summary['dead_clusters']:
            runner.logger.warning(
                'A cluster without confident images gets no labels, and the others will take its '
                'images: lower the threshold of the SelfLabelLoss.'
            )
