from typing import Sequence, Union

import torch.nn.functional as F
from torch import Tensor


def pool_features(output: Union[Tensor, Sequence[Tensor]], num_prefix_tokens: int = 0) -> Tensor:
    """One row of features for each image, whatever a backbone puts out.

    Args:
        output (Tensor | Sequence[Tensor]): What it puts out; of several stages the last counts. A
            feature map (B, D, h, w) is averaged over its positions. Of tokens (B, T, D) the first
            is taken if there are prefix tokens, a class token before those of the patches, else
            their mean. Rows (B, D) stay as they are.
        num_prefix_tokens (int): How many of the tokens stand for no patch. Defaults to 0.

    Returns:
        Tensor: Shape (B, D).

    Raises:
        ValueError: If the output has another number of dimensions.
    """
    features = output if isinstance(output, Tensor) else output[-1]
    if features.ndim == 4:
        return F.adaptive_avg_pool2d(features, 1).flatten(1)
    if features.ndim == 3:
        return features[:, 0] if num_prefix_tokens else features.mean(dim=1)
    if features.ndim == 2:
        return features
    raise ValueError(
        f'the backbone puts out features of shape {tuple(features.shape)}; known are feature maps '
        '(B, D, h, w), tokens (B, T, D) and rows (B, D)'
    )
