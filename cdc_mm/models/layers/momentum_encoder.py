from copy import deepcopy
from typing import Dict

import torch
from torch import nn


class MomentumEncoder(nn.Module):
    """Copies of modules whose parameters follow them as moving averages (MoCo, section 3.2).

    Buffers, such as batch norm statistics, are the copies' own.

    Args:
        modules (dict): The modules to copy, by the names that they get here.
    """

    def __init__(self, modules: Dict[str, nn.Module]) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, deepcopy(module))
        self.requires_grad_(False)

    @torch.no_grad()
    def update(self, source: nn.Module, momentum: float) -> None:
        """Move the parameters towards those of ``source``.

        Args:
            source (nn.Module): Has the modules that are followed, by the same names.
            momentum (float): Share to keep, in [0, 1].
        """
        followed = [p for module in self._followed(source) for p in module.parameters()]
        torch._foreach_lerp_(list(self.parameters()), followed, 1 - momentum)

    def copy_from(self, source: nn.Module) -> None:
        """Become equal to the modules of ``source``, buffers and all."""
        for own, module in zip(self.children(), self._followed(source), strict=True):
            own.load_state_dict(module.state_dict())

    def _followed(self, source: nn.Module) -> list:
        return [getattr(source, name) for name, _ in self.named_children()]
