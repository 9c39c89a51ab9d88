import torch
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS

from cdc_mm.wrappers import unwrap_model


@HOOKS.register_module()
class FrozenBackboneCheckHook(Hook):
    """Prove that training on a frozen backbone moves none of its weights and statistics.

    Before training, every parameter of the backbone must be without gradient. After every epoch,
    and so after training, the whole state of the backbone (weights, batch norm statistics and
    counters) must be what it was before. Batch norm in training mode moves its statistics even
    when no parameter has a gradient, and the features change without notice.
    """

    # Before checkpoints are written and validation starts.
    priority = 'VERY_HIGH'

    def before_train(self, runner) -> None:
        """Keep a copy of the backbone.

        Raises:
            ValueError: If a parameter of the backbone would be trained.
        """
        backbone = _backbone(runner)
        trained = [name for name, param in backbone.named_parameters() if param.requires_grad]
        if trained:
            raise ValueError(
                f'{len(trained)} parameters of the backbone would be trained ({trained[0]}, ...): '
                'freeze it with model.backbone.frozen_stages (4 for a ResNet).'
            )
        self._before = {name: value.clone() for name, value in backbone.state_dict().items()}

    def after_train_epoch(self, runner) -> None:
        """Compare the backbone with the copy.

        Raises:
            RuntimeError: If anything moved.
        """
        state = _backbone(runner).state_dict()
        moved = [
            name for name, value in state.items() if not torch.equal(value, self._before[name])
        ]
        if moved:
            raise RuntimeError(
                f'{len(moved)} of {len(state)} tensors of the frozen backbone moved during '
                f'training: {", ".join(moved[:3])}{", ..." * (len(moved) > 3)}'
            )

    def after_train(self, runner) -> None:
        """Say that nothing moved."""
        runner.logger.info(f'All {len(self._before)} tensors of the frozen backbone are unmoved.')


def _backbone(runner):
    return unwrap_model(runner.model).backbone
