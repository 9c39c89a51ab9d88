from contextlib import contextmanager
from typing import Iterator

import torch
from mmengine.optim import OptimWrapper
from mmpretrain.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """Automatic mixed precision on a CPU, in bfloat16; mmengine's ``AmpOptimWrapper`` wants CUDA.

    bfloat16 has the range of float32, so that losses need no scaling. Weights and their updates
    stay in float32, as on CUDA.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Compute the losses under bfloat16 autocast.

        Args:
            model (nn.Module): The model in training.
        """
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield
