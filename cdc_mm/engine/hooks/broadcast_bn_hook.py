from mmengine.dist import broadcast
from mmengine.hooks import Hook
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from mmpretrain.registry import HOOKS
from torch import nn


@HOOKS.register_module()
class BroadcastBNHook(Hook):
    """Give every rank the batch norm statistics of rank 0 before validation.

    Without synchronised batch norm each rank keeps its own running statistics, and the ranks would
    validate with different networks, none but the first of them being the one that is saved.
    """

    def before_val(self, runner) -> None:
        """Broadcast the running statistics from rank 0."""
        broadcast_bn(runner.model)


def broadcast_bn(model: nn.Module) -> None:
    """Give the batch norm layers of every rank the running statistics of rank 0."""
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            broadcast(module.running_mean)
            broadcast(module.running_var)
