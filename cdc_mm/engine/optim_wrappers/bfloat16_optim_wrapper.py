from contextlib import contextmanager
from typing import Iterator

import torch
from mmengine.device import get_device
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmpretrain.registry import OPTIM_WRAPPERS
from torch import nn


# Configs of older runs have the second name.
@OPTIM_WRAPPERS.register_module(name=['BFloat16OptimWrapper', 'CPUAmpOptimWrapper'])
class BFloat16OptimWrapper(OptimWrapper):
    """Automatic mixed precision in bfloat16, on a CPU and on a GPU.

    bfloat16 has the range of float32, so that losses need no scaling, and no step waits for the
    device to say whether it overflowed. Weights, their updates, the losses and Sinkhorn stay in
    float32.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if get_device() == 'cpu' and not cpu_has_bfloat16():
            MMLogger.get_current_instance().warning(
                'This CPU has no instructions for bfloat16 (AVX512-BF16, AMX): mixed precision '
                'works, but slower than training without --amp.'
            )

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Compute the losses under bfloat16 autocast.

        Args:
            model (nn.Module): The model in training.
        """
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16):
            yield


def cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies in bfloat16 by instructions of its own, as far as torch knows."""
    if not hasattr(torch.cpu, 'get_capabilities'):  # torch before 2.10
        return True
    known = torch.cpu.get_capabilities()
    names = ('avx512_bf16', 'amx_bf16', 'bf16')  # the last of ARM
    return any(known.get(name, False) for name in names)
