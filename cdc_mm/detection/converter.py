import pickle
import re
from collections import OrderedDict
from functools import cache
from typing import Dict, List, Optional, Tuple

import torch
import torchvision

from cdc_mm.atomic import write_atomically
from cdc_mm.checkpoints import read_backbone

# torchvision's names in detectron2's: stages first, then batch norms, then shortcuts.
_RENAMES = (
    (r'^(conv1|bn1)\.', r'stem.\1.'),
    (r'^layer(\d)\.', lambda match: f'res{int(match[1]) + 1}.'),
    (r'\bbn(\d)\.', r'conv\1.norm.'),
    (r'\bdownsample\.0\.', 'shortcut.'),
    (r'\bdownsample\.1\.', 'shortcut.norm.'),
)


def to_detectron2(
    weights: 'OrderedDict[str, torch.Tensor]',
) -> Tuple['OrderedDict[str, torch.Tensor]', int]:
    """Rename the weights of a whole ResNet for detectron2.

    Args:
        weights (OrderedDict): By torchvision's names, as of
            :func:`~cdc_mm.apis.read_backbone`.

    Returns:
        tuple: The weights by detectron2's names (``stem.conv1.weight``,
        ``res2.0.conv1.norm.running_mean``, ...), and the depth of the ResNet.

    Raises:
        ValueError: If they are not those of a complete ResNet of depth 18, 34, 50, 101 or 152 with
            the 7x7 stem, the only one that detectron2 has.
    """
    # Counters of batch norm are of no use there, and old files lack them.
    weights = {k: v for k, v in weights.items() if not k.endswith('num_batches_tracked')}
    depths = (50, 101, 152) if any('.conv3.' in name for name in weights) else (18, 34)
    depth = min(depths, key=lambda depth: len(_dimensions(depth).keys() ^ set(weights)))
    dimensions = _dimensions(depth)
    missing = sorted(dimensions.keys() - set(weights))
    extra = sorted(set(weights) - dimensions.keys())
    if missing or extra:
        raise ValueError(
            f'no complete ResNet: next to a ResNet-{depth}, {len(missing)} of its '
            f'{len(dimensions)} weights are missing and {len(extra)} do not belong to it '
            f'({_first(missing + extra)})'
        )
    for name, value in weights.items():
        if value.ndim != dimensions[name]:
            raise ValueError(
                f'{name} has the shape {tuple(value.shape)}, which is not of '
                f'{dimensions[name]} dimensions'
            )
    stem = tuple(weights['conv1.weight'].shape[2:])
    if stem != (7, 7):
        raise ValueError(
            f'the first convolution is {stem[0]}x{stem[1]}, the stem for small images; that of '
            "detectron2's ResNet is 7x7. Pretrain a backbone of type ResNet, not ResNet_CIFAR."
        )
    return OrderedDict((_rename(k), v) for k, v in weights.items()), depth


def convert_checkpoint(
    filename: str, out: str, momentum: bool = False, depth: Optional[int] = None
) -> Tuple[int, int]:
    """Write the backbone of any pretraining checkpoint as a file that detectron2 loads.

    Args:
        filename (str): A checkpoint in one of the layouts that
            :func:`~cdc_mm.apis.read_backbone` knows.
        out (str): The file to write, ending in ``.pkl``; complete or not there at all.
        momentum (bool): Whether to take the momentum encoder instead of the query encoder.
        depth (int, optional): The only depth to accept.

    Returns:
        tuple: The number of convolutions, each with its batch norm (53 in a ResNet-50), and the
        depth.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        RunError: If the file cannot be written.
        ValueError: If it cannot be read or holds anything but a complete ResNet of that depth.
    """
    if not out.endswith('.pkl'):
        raise ValueError(f'{out} must end in .pkl: detectron2 tells formats by their endings')
    backbone = read_backbone(filename, momentum)
    try:
        weights, found = to_detectron2(backbone)
    except ValueError as error:
        raise ValueError(f'{filename}: {error}') from error
    if depth not in (None, found):
        raise ValueError(f'{filename} holds a ResNet-{found}, the detector has a ResNet-{depth}')
    content = dict(
        model={k: v.numpy() for k, v in weights.items()},
        __author__=f'cdc_mm, from {filename}',
        matching_heuristics=True,  # the names get the prefix that they have in the detector
    )
    write_atomically(out, pickle.dumps(content))
    return sum(value.ndim == 4 for value in weights.values()), found


@cache
def _dimensions(depth: int) -> Dict[str, int]:
    with torch.device('meta'):
        resnet = getattr(torchvision.models, f'resnet{depth}')()
    return {
        name: value.ndim
        for name, value in resnet.state_dict().items()
        if not name.startswith('fc.') and not name.endswith('num_batches_tracked')
    }


def _rename(name: str) -> str:
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _first(names: List[str], count: int = 3) -> str:
    return '; '.join(names[:count]) + ('; ...' if len(names) > count else '')
