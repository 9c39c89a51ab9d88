from collections import OrderedDict

import torch
from torch import nn

from .files import read_state_dict

# Where published files keep the encoder, after "module." is gone: MoCo v2, MoCo v3, this project
# and mmpretrain, torchvision.
_PREFIXES = ('encoder_q.', 'base_encoder.', 'backbone.', '')
# Heads that share the prefix with the backbone: classifier or MLP of MoCo and torchvision.
_HEADS = ('fc.', 'head.', 'neck.')


def read_backbone(filename: str, momentum: bool = False) -> 'OrderedDict[str, torch.Tensor]':
    """Read the weights of the backbone from a pretraining checkpoint, whatever its layout.

    Known are checkpoints of this project and of mmpretrain (``backbone.``), the released files of
    MoCo v2 (``module.encoder_q.``) and MoCo v3 (``module.base_encoder.``), and torchvision's.

    Args:
        filename (str): A local file.
        momentum (bool): Whether to take this project's momentum encoder instead of its query
            encoder.

    Returns:
        OrderedDict: Weights by their names within the backbone (``conv1.weight``,
        ``layer1.0.conv1.weight``, ...), without classifier, neck or MLP.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, or holds no backbone.
    """
    return pick_backbone(read_state_dict(filename), filename, momentum)


def pick_backbone(
    state: 'OrderedDict[str, torch.Tensor]', filename: str, momentum: bool = False
) -> 'OrderedDict[str, torch.Tensor]':
    """As :func:`read_backbone`, of weights that have been read."""
    state = {name.removeprefix('module.'): value for name, value in state.items()}
    prefixes = ('momentum_encoder.backbone.',) if momentum else _PREFIXES
    for prefix in prefixes:
        found = OrderedDict(
            (name.removeprefix(prefix), value)
            for name, value in state.items()
            if name.startswith(prefix)
        )
        weights = OrderedDict((k, v) for k, v in found.items() if not k.startswith(_HEADS))
        # Without a prefix anything would match, so the first layer's name decides.
        if weights and (prefix or 'conv1.weight' in weights):
            return weights
    raise ValueError(
        f'{filename} holds no backbone: none of its {len(state)} weights is named '
        + ' or '.join(f'{prefix}conv1.weight' for prefix in prefixes)
        + f' (the first is {next(iter(state), "missing")}).'
    )


def check_backbone(
    backbone: nn.Module, weights: 'OrderedDict[str, torch.Tensor]', filename: str
) -> None:
    """Refuse weights that fill less than the whole backbone.

    Args:
        backbone (nn.Module): What will be filled.
        weights (OrderedDict): As of :func:`read_backbone`.
        filename (str): For the message.

    Raises:
        ValueError: If a weight or a batch norm statistic is missing or of another shape, or if the
            file has layers that the backbone lacks.
    """
    own = backbone.state_dict()
    # Counters of batch norm are no weights, and old files lack them.
    names = [name for name in own if not name.endswith('num_batches_tracked')]
    bad = [name for name in names if name not in weights]
    bad += [
        f'{name} {tuple(weights[name].shape)}, needed {tuple(own[name].shape)}'
        for name in names
        if name in weights and weights[name].shape != own[name].shape
    ]
    extra = [name for name in weights if name not in own]
    if bad or extra:
        shown = '; '.join((bad or extra)[:3])
        raise ValueError(
            f'{filename} fills {len(names) - len(bad)} of the {len(names)} weights of the '
            f'{type(backbone).__name__} and has {len(extra)} that it lacks ({shown}; ...). It is '
            'of another architecture: set model.backbone to the one it was trained with.'
        )
