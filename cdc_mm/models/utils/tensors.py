import torch
from torch import Tensor


def as_float(x: Tensor) -> Tensor:
    """Half precision to float32; float32 and float64 stay as they are."""
    return x if x.dtype == torch.float64 else x.float()
