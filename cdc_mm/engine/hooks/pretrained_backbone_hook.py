from typing import Optional

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop
from mmpretrain.registry import HOOKS
from torch import nn

from cdc_mm.checkpoints import check_backbone, fit_backbone, pick_backbone, read_backbone
from cdc_mm.wrappers import unwrap_model


@HOOKS.register_module()
class PretrainedBackboneHook(Hook):
    """Make ``load_from`` fill the backbone, and only it, from any known pretraining checkpoint.

    For training on top of a pretrained backbone. mmengine alone would match weights by their full
    names, load nothing from a foreign file and go on with random ones. Here the layouts of
    :func:`cdc_mm.checkpoints.read_backbone` are understood, heads are left out, and a file that
    fills less than the whole backbone is refused. Resuming and testing are not touched.
    """

    def check(self, runner) -> None:
        """Refuse a missing or unfit ``load_from`` before training starts.

        Raises:
            FileNotFoundError: If the file does not exist.
            ValueError: If there is no ``load_from``, or the file does not fill the backbone.
        """
        if not runner._resume:
            check_pretrained_backbone(runner.model, runner._load_from)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Leave only the backbone in the checkpoint, under the names of the model."""
        # A test has no training loop and wants the whole checkpoint.
        if runner._resume or not isinstance(runner._train_loop, BaseLoop):
            return
        filename = runner._load_from
        state = checkpoint.get('state_dict', checkpoint)
        backbone = unwrap_model(runner.model).backbone
        weights = fit_backbone(pick_backbone(state, filename, backbone=backbone), backbone)
        check_backbone(backbone, weights, filename)
        checkpoint.clear()
        # A clusterer puts them where its encoder is.
        checkpoint['state_dict'] = {f'backbone.{k}': v for k, v in weights.items()}
        runner.logger.info(f'{filename} fills the whole backbone: {len(weights)} tensors.')


def check_pretrained_backbone(model: nn.Module, filename: Optional[str]) -> None:
    """Refuse a file that does not fill the backbone of a model.

    Args:
        model (nn.Module): A model with ``backbone``.
        filename (str, optional): The checkpoint, a file or its address.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is None, or does not fill the backbone.
    """
    if filename is None:
        raise ValueError(
            'this config trains on top of a pretrained backbone: name its checkpoint, '
            '--cfg-options load_from=FILE'
        )
    backbone = unwrap_model(model).backbone
    weights = read_backbone(filename, backbone=backbone)
    check_backbone(backbone, fit_backbone(weights, backbone), filename)
