"""Sections of a config that are of another kind than what reads them."""

from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook

_NONE = type(None)
# What each section may be. Others of the runner's are left to it.
_KINDS = {
    **dict.fromkeys(('model', 'default_hooks', 'env_cfg', 'randomness'), (dict,)),
    **dict.fromkeys(
        (
            *('train_dataloader', 'val_dataloader', 'test_dataloader'),
            *('train_cfg', 'val_cfg', 'test_cfg', 'optim_wrapper', 'auto_scale_lr'),
            *('data_preprocessor', 'log_processor', 'visualizer', 'model_wrapper_cfg', 'tta_model'),
        ),
        (dict, _NONE),
    ),
    **dict.fromkeys(('val_evaluator', 'test_evaluator', 'param_scheduler'), (dict, list, _NONE)),
    **dict.fromkeys(('custom_hooks', 'tta_pipeline'), (list, _NONE)),
    **dict.fromkeys(('work_dir', 'load_from', 'experiment_name'), (str, _NONE)),
    **dict.fromkeys(('default_scope', 'launcher'), (str,)),
    'log_level': (str, int),
    'resume': (bool, _NONE),
}
_MOST_WORKERS = 1000
_KIND_NAMES = {
    _NONE: 'None',
    dict: 'a dict',
    list: 'a list',
    str: 'a text',
    int: 'a number',
    bool: 'True or False',
}


class SectionError(ValueError):
    """A section, or a value in one, that cannot be what it is."""


def check_sections(cfg: Config) -> None:
    """Refuse what is, say, a number where the runner wants a dict.

    Args:
        cfg (Config): A config that has been read.

    Raises:
        SectionError: Names the key, its value and what it may be.
    """
    for key, kinds in _KINDS.items():
        if key in cfg and not isinstance(cfg[key], kinds):
            wanted = ' or '.join(_KIND_NAMES[kind] for kind in kinds)
            raise SectionError(f'{key} must be {wanted}, got {cfg[key]!r}')
    hooks = [(f'default_hooks.{k}', v) for k, v in (cfg.get('default_hooks') or {}).items()]
    hooks += [(f'custom_hooks[{i}]', v) for i, v in enumerate(cfg.get('custom_hooks') or [])]
    for path, hook in hooks:
        if not isinstance(hook, (dict, Hook)) and not (hook is None and path[0] == 'd'):
            raise SectionError(f'{path} must be a dict, got {hook!r}')
    for split in ('train', 'val', 'test'):
        loader = cfg.get(f'{split}_dataloader') or {}
        for key, least in (('batch_size', 1), ('num_workers', 0)):
            _check_whole(f'{split}_dataloader.{key}', loader.get(key, least), least)
        if loader.get('num_workers', 0) > _MOST_WORKERS:
            raise SectionError(
                f'{split}_dataloader.num_workers={loader["num_workers"]}: as many processes would '
                f'stop the machine. At most {_MOST_WORKERS} are started.'
            )
        for key in ('dataset', 'sampler', 'batch_sampler'):
            if isinstance(loader.get(key), (str, int, float, list, tuple)):
                raise SectionError(f'{split}_dataloader.{key} must be a dict, got {loader[key]!r}')
        for key in ('pin_memory', 'persistent_workers', 'drop_last'):
            if not isinstance(loader.get(key, False), bool):
                raise SectionError(
                    f'{split}_dataloader.{key} must be True or False, got {loader[key]!r}'
                )
    base = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    if base is not None:
        _check_whole('auto_scale_lr.base_batch_size', base, 1)
    schedule = cfg.get('train_cfg') or {}
    for key, least in (('max_epochs', 1), ('max_iters', 1), ('val_interval', 1), ('val_begin', 0)):
        if key in schedule:
            _check_whole(f'train_cfg.{key}', schedule[key], least)


def _check_whole(path: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SectionError(f'{path} must be a whole number of at least {least}, got {value!r}')
