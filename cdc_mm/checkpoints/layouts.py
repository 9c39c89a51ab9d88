import re
from collections import OrderedDict
from typing import Dict, Optional, Tuple

import torch
from torch import nn

from .files import check_finite, read_state_dict

State = Dict[str, torch.Tensor]

# Where published files keep the encoder, after "module." is gone: MoCo v2, MoCo v3, this project
# (self-labelled, now, and before), mmpretrain and DINO, OpenCLIP, torchvision and timm.
_PREFIXES = (
    'encoder_q.',
    'base_encoder.',
    'clusterer.encoder.backbone.',
    'encoder.backbone.',
    'backbone.',
    'visual.',
    '',
)
_MOMENTUM_PREFIXES = (
    'momentum_encoder.encoder.backbone.',
    'momentum_encoder.backbone.',
    'clusterer.momentum_encoder.encoder.backbone.',
)
# The first layer of ResNets, of timm's and DINO's ViTs, of OpenCLIP's, of mmpretrain's.
_FIRST_LAYERS = ('conv1.weight', 'patch_embed.proj.weight', 'patch_embed.projection.weight')
# Heads that share the prefix with the backbone: classifier or MLP of MoCo, torchvision, timm.
_HEADS = ('fc.', 'head.', 'neck.', 'head_dist.')
# OpenCLIP's ViT in timm's names.
_OPEN_CLIP = (
    (r'^class_embedding$', 'cls_token'),
    (r'^positional_embedding$', 'pos_embed'),
    (r'^conv1\.', 'patch_embed.proj.'),
    (r'^ln_pre\.', 'norm_pre.'),
    (r'^ln_post\.', 'norm.'),
    (r'^transformer\.resblocks\.', 'blocks.'),
    (r'\.ln_(\d)\.', r'.norm\1.'),
    (r'\.attn\.in_proj_', '.attn.qkv.'),
    (r'\.attn\.out_proj\.', '.attn.proj.'),
    (r'\.mlp\.c_fc\.', '.mlp.fc1.'),
    (r'\.mlp\.c_proj\.', '.mlp.fc2.'),
)
# timm's and DINO's ViT in mmpretrain's names.
_MMPRETRAIN_VIT = (
    (r'^patch_embed\.proj\.', 'patch_embed.projection.'),
    (r'^norm_pre\.', 'pre_norm.'),
    (r'^norm\.', 'ln1.'),
    (r'^blocks\.', 'layers.'),
    (r'\.norm(\d)\.', r'.ln\1.'),
    (r'\.ls1\.gamma$', '.attn.gamma1.weight'),
    (r'\.ls2\.gamma$', '.ffn.gamma2.weight'),
    (r'\.mlp\.fc1\.', '.ffn.layers.0.0.'),
    (r'\.mlp\.fc2\.', '.ffn.layers.1.'),
)


def read_backbone(
    filename: str, momentum: bool = False, backbone: Optional[nn.Module] = None
) -> 'OrderedDict[str, torch.Tensor]':
    """Read the weights of the backbone from a pretraining checkpoint, whatever its layout.

    Known are checkpoints of this project and of mmpretrain, the released files of MoCo v2
    (``module.encoder_q.``), MoCo v3 (``module.base_encoder.``), DINO, DINOv2, the visual tower of
    OpenCLIP (``visual.``), torchvision's and timm's.

    Args:
        filename (str): A local file.
        momentum (bool): Whether to take this project's momentum encoder instead of its query
            encoder.
        backbone (nn.Module, optional): What will be filled. Its names are then known, too, besides
            those of ResNets and ViTs, in a file that holds a backbone alone.

    Returns:
        OrderedDict: Weights by their names within the backbone (``conv1.weight``,
        ``layer1.0.conv1.weight``, ...), without classifier, neck or MLP. Those of a ViT have timm's
        names; :func:`fit_backbone` turns them into mmpretrain's.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, or holds no backbone.
    """
    return pick_backbone(read_state_dict(filename), filename, momentum, backbone)


def pick_backbone(
    state: State, filename: str, momentum: bool = False, backbone: Optional[nn.Module] = None
) -> 'OrderedDict[str, torch.Tensor]':
    """As :func:`read_backbone`, of weights that have been read."""
    state = {name.removeprefix('module.'): value for name, value in state.items()}
    prefixes = _MOMENTUM_PREFIXES if momentum else _PREFIXES
    known = {*_FIRST_LAYERS, *(() if backbone is None else backbone.state_dict())}
    for prefix in prefixes:
        found = OrderedDict(
            (name.removeprefix(prefix), value)
            for name, value in state.items()
            if name.startswith(prefix)
        )
        weights = OrderedDict((k, v) for k, v in found.items() if not k.startswith(_HEADS))
        # Without a prefix anything would match, so the names decide.
        if weights and (prefix or known & weights.keys()):
            return from_open_clip(weights)
    raise ValueError(
        f'{filename} holds no backbone: none of its {len(state)} weights is named '
        + ' or '.join(f'{prefix}conv1.weight' for prefix in prefixes)
        + f' (the first is {next(iter(state), "missing")}).'
    )


def from_open_clip(weights: State) -> 'OrderedDict[str, torch.Tensor]':
    """Give the ViT of OpenCLIP timm's names; other weights stay as they are."""
    if 'class_embedding' not in weights:
        return OrderedDict(weights)
    renamed = _rename(weights, _OPEN_CLIP)
    renamed.pop('proj', None)  # into the space of texts
    # Without the dimension of the batch there.
    renamed['cls_token'] = renamed['cls_token'].reshape(1, 1, -1)
    renamed['pos_embed'] = renamed['pos_embed'].unsqueeze(0)
    return renamed


def fit_backbone(weights: State, backbone: nn.Module) -> 'OrderedDict[str, torch.Tensor]':
    """Give the weights the names that the backbone has for them, where it is mmpretrain's ViT.

    Args:
        weights (dict): As of :func:`read_backbone`.
        backbone (nn.Module): What will be filled.

    Returns:
        OrderedDict: The weights.
    """
    weights = OrderedDict(weights)
    weights.pop('mask_token', None)  # DINOv2's, of its training only
    if 'patch_embed.proj.weight' in weights and hasattr(
        getattr(backbone, 'patch_embed', None), 'projection'
    ):
        return _rename(weights, _MMPRETRAIN_VIT)
    return weights


def _rename(
    weights: State, patterns: Tuple[Tuple[str, str], ...]
) -> 'OrderedDict[str, torch.Tensor]':
    renamed = OrderedDict()
    for name, value in weights.items():
        for old, new in patterns:
            name = re.sub(old, new, name)
        renamed[name] = value
    return renamed


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
            file has layers that the backbone lacks or holds NaN or infinity.
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
    check_finite(weights, names, filename)


def fill_backbone(backbone: nn.Module, weights: State, filename: str) -> None:
    """Fill the whole backbone with weights; see :func:`check_backbone` for what is refused."""
    check_backbone(backbone, weights, filename)
    # Not strict: old files lack the counters of batch norm.
    backbone.load_state_dict(weights, strict=False)
