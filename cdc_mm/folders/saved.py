"""What a saved model says of its network: data that is read without running code of its maker."""

import json
from pathlib import Path
from typing import Any, Union

from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS

# Where the classes come from that a model may be made of; others, as mmengine finds by a dotted
# name, could do anything with what they are given.
_SOURCES = (
    'cdc_mm.models.',
    'mmpretrain.models.backbones.',
    'mmpretrain.models.necks.',
    'mmpretrain.models.utils.',
    'mmcv.cnn.',
    'mmengine.model.',
    'torch.nn.',
)
# What names files or addresses of weights, all of which the checkpoint holds.
_WEIGHTS = ('weights', 'pretrained', 'init_cfg', 'checkpoint_path')


def read_json(path: Union[str, Path]) -> dict:
    """The object in a JSON file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds none.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text('utf-8'))
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path} is damaged: it is no JSON file') from error
    if not isinstance(content, dict):
        raise ValueError(f'{path} is damaged: it holds no object')
    return content


def plain_config(cfg: Any) -> Any:
    """The config of a model that a stranger may have written, without what names files of weights.

    Args:
        cfg (Any): A dict, with lists and further dicts in it.

    Returns:
        Any: A copy that can be built: it runs no code but that of known layers and loads nothing.

    Raises:
        ValueError: If it names a class that is no layer of this package or its hosts.
    """
    if isinstance(cfg, (list, tuple)):
        return [plain_config(value) for value in cfg]
    if not isinstance(cfg, dict):
        return cfg
    if 'type' in cfg:
        _check_type(cfg['type'])
    if '_scope_' in cfg:
        raise ValueError('its config names a scope')
    return {key: plain_config(value) for key, value in cfg.items() if key not in _WEIGHTS}


def _check_type(name: Any) -> None:
    init_default_scope('mmpretrain')
    known = isinstance(name, str) and '.' not in name
    found = MODELS.get(name) if known else None
    if found is None or not f'{found.__module__}.'.startswith(_SOURCES):
        raise ValueError(f'its config names {name!r}, which is no layer of this package')
