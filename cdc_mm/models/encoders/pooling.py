from typing import Sequence, Union

import torch.nn.functional as F
from torch import Tensor, nn


def pool_features(output: Union[Tensor, Sequence[Tensor]], num_prefix_tokens: int = 0) -> Tensor:
    """Make one row of features for each image of whatever a backbone gives.

    Args:
        output (Tensor | Sequence[Tensor]): Rows (B, D), a feature map (B, D, h, w), which is
            averaged, or tokens (B, T, D); of several, by stage, the last.
        num_prefix_tokens (int): How many of the tokens precede those of the patches: the first of
            them is the class token, and it is taken. Without any, tokens are averaged. Defaults
            to 0.

    Returns:
        Tensor: Shape (B, D).

    Raises:
        ValueError: If the output has another shape.
    """
    while isinstance(output, (tuple, list)):
        output = output[-1]
    if output.ndim == 4:
        return F.adaptive_avg_pool2d(output, 1).flatten(1)
    if output.ndim == 3:
        return output[:, 0] if num_prefix_tokens > 0 else output.mean(1)
    if output.ndim != 2:
        raise ValueError(
            f'the backbone puts out the shape {tuple(output.shape)}: rows (B, D), a feature map '
            '(B, D, h, w) or tokens (B, T, D) are needed'
        )
    return output


def pooled_features(backbone: nn.Module, images: Tensor) -> Tensor:
    """Rows of features of a backbone of mmpretrain's; see :func:`pool_features`.

    Args:
        backbone (nn.Module): The network.
        images (Tensor): Normalised, shape (B, C, H, W).

    Returns:
        Tensor: Shape (B, D).
    """
    output = backbone(images)
    if getattr(backbone, 'reshape_last_feat', None) is False:
        # EfficientFormer's tokens come as (B, D, T), all others' as (B, T, D).
        output = output[-1].transpose(1, 2)
    return pool_features(output, getattr(backbone, 'num_extra_tokens', 0) or 0)
