"""Keys of a config that nothing reads."""

import ast
import difflib
import inspect
import re
from pathlib import Path
from typing import Any, Iterable, Iterator, List, Optional, Set, Tuple

import mmengine
import torch
from mmengine.config import Config
from mmengine.dist import init_dist
from mmengine.dist import utils as host_dist
from mmengine.registry import LOOPS, OPTIM_WRAPPERS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner, TestLoop, ValLoop
from mmengine.utils.dl_utils import set_multi_processing
from torch import nn
from torch.utils.data import DataLoader

from .config import READ_KEYS, names_set_by
from .hook_keys import check_hooks
from .sections import check_sections


def check_keys(cfg: Config) -> None:
    """Refuse keys that no part of the runner reads: mistyped ones would silently do nothing.

    What is built by a registry is left to the constructors, but for hooks that take anything
    (:func:`check_hooks`). Names at the top that are none of the runner's are building blocks, and
    fine if something is derived from them.

    Args:
        cfg (Config): A full config, of a file or made in Python.

    Raises:
        ValueError: Names the key by its full path, and the nearest that is read.
    """
    check_sections(cfg)
    if 'model' not in cfg:
        raise ValueError('the config has no model')
    for name in _unread_names(cfg):
        raise ValueError(f'{name} is read by nothing.{_nearest(name, READ_KEYS)}')
    check_hooks(cfg)
    for path, known in _known_keys(cfg):
        section = get_path(cfg, path)
        if section is None:
            continue
        if not isinstance(section, dict):
            raise ValueError(f'{path} must be a dict, got {section!r}')
        for key in section:
            if key not in known:
                raise ValueError(
                    f'{path}.{key} is read by nothing.{_nearest(key, known, f"{path}.")}'
                )


def get_path(cfg: Any, path: str) -> Any:
    """What lies at a path of dict keys; None if there is nothing."""
    for key in path.split('.'):
        cfg = cfg.get(key) if isinstance(cfg, dict) or hasattr(cfg, 'get') else None
    return cfg


def _nearest(name: str, names: Iterable[str], prefix: str = '') -> str:
    names = sorted(map(str, names))
    near = difflib.get_close_matches(str(name), names)
    if near:
        return f' Near it: {", ".join(prefix + x for x in near)}.'
    return f' What is: {", ".join(prefix + x for x in names)}.' if prefix else ''


def _params(function) -> Set[str]:
    return set(inspect.signature(function).parameters) - {'self', 'args', 'kwargs'}


def _known_keys(cfg: Config) -> Iterator[Tuple[str, Set[str]]]:
    """Sections that no registry builds, or that a loop over keys would take, and their keys."""
    # What mmengine reads key by key has no signature: setup_env, scale_lr, paramwise_cfg.
    yield 'env_cfg', {'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'}
    yield 'env_cfg.mp_cfg', _params(set_multi_processing) - {'distributed'}
    backends = (init_dist, host_dist._init_dist_slurm, torch.distributed.init_process_group)
    yield 'env_cfg.dist_cfg', set().union(*map(_params, backends)) - {'launcher'}
    yield 'randomness', _params(Runner.set_randomness)
    yield 'auto_scale_lr', {'enable', 'base_batch_size'}
    loader = _params(DataLoader) | {'num_batch_per_epoch', 'disable_subprocess_warning'}
    for split, loop in (('train', None), ('val', ValLoop), ('test', TestLoop)):
        yield f'{split}_dataloader', loader
        loop = _loop_of(cfg.get(f'{split}_cfg') or {}, loop)
        if loop is not None:
            yield (
                f'{split}_cfg',
                _params(loop) - {'runner', 'dataloader', 'evaluator'} | {'type', 'by_epoch'},
            )
    yield from _optim_wrapper_keys(cfg.get('optim_wrapper') or {})


def _loop_of(section: dict, default: Optional[type]) -> Optional[type]:
    if 'type' in section:
        loop = LOOPS.get(section['type']) if isinstance(section['type'], str) else None
        # One of the user's own may take anything.
        return (
            loop if loop in (EpochBasedTrainLoop, IterBasedTrainLoop, ValLoop, TestLoop) else None
        )
    if default is None and 'by_epoch' in section:
        return EpochBasedTrainLoop if section['by_epoch'] else IterBasedTrainLoop
    return default


def _optim_wrapper_keys(section: dict) -> Iterator[Tuple[str, Set[str]]]:
    if 'constructor' in section:  # several optimisers, or keys of its own
        return
    kind = section.get('type', 'OptimWrapper')
    wrapper = OPTIM_WRAPPERS.get(kind) if isinstance(kind, str) else None
    if wrapper is not None:
        # What a wrapper takes besides its own goes up to the class that it inherits from.
        taken = set().union(*(_params(c.__init__) for c in wrapper.__mro__ if c is not object))
        yield 'optim_wrapper', taken | {'type', 'constructor', 'paramwise_cfg'}
    yield (
        'optim_wrapper.paramwise_cfg',
        {'custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'dwconv_decay_mult'}
        | {'flat_decay_mult', 'dcn_offset_lr_mult', 'bypass_duplicate'},
    )
    clipped = section.get('clip_grad')
    if isinstance(clipped, dict) and clipped.get('type', 'norm') in ('norm', 'value'):
        kind = clipped.get('type', 'norm')
        clip = getattr(nn.utils, f'clip_grad_{kind}_')
        yield 'optim_wrapper.clip_grad', _params(clip) - {'parameters'} | {'type'}


def _unread_names(cfg: Config) -> Iterator[str]:
    """Names at the top from which nothing is derived."""
    files = _files_of(cfg.filename)
    # A file that a tool has written out holds values only, those of building blocks among them;
    # as does a config that is no file. There, only what looks like a key of the runner is one.
    derived = len(files) > 1 or any(sets & uses for sets, uses in files)
    for name, value in cfg.items():
        # The uppermost file that sets the name is the one that counts: what a file below derived
        # from the name is derived already. Those above it use it as _base_.name.
        setter = next((i for i, (sets, _) in enumerate(files) if name in sets), len(files))
        used = any(name in uses for _, uses in files[: setter + 1])
        if name in READ_KEYS or used or _occurs(value, cfg):
            continue
        looks_read = difflib.get_close_matches(name, READ_KEYS - _PIPELINES, cutoff=0.8)
        if looks_read or (derived and setter < len(files) and isinstance(value, (dict, list))):
            yield name


_PIPELINES = {'tta_pipeline'}  # beside train_pipeline and test_pipeline, which are common names


def _occurs(value: Any, cfg: Config) -> bool:
    """Whether a building block is part of something that is read, as it is."""
    if not isinstance(value, (dict, list)) or not value:
        return False
    stack = [section for name, section in cfg.items() if name in READ_KEYS]
    while stack:
        part = stack.pop()
        if isinstance(part, type(value)) and part == value:
            return True
        if isinstance(part, dict):
            stack.extend(part.values())
        elif isinstance(part, (list, tuple)):
            stack.extend(part)
    return False


def _files_of(filename: Optional[str]) -> List[Tuple[Set[str], Set[str]]]:
    """For each file of the chain of ``_base_``, from the top: the names that it sets and uses."""
    files, waiting, seen = [], [filename], set()
    while waiting:
        path = waiting.pop(0)
        if path is None or path in seen or not Path(path).is_file():
            continue
        seen.add(path)
        text = Path(path).read_text(encoding='utf-8')
        uses = set(re.findall(r'\{\{\s*_base_\.(\w+)', text))
        sets = set()
        if path.endswith('.py'):
            tree = ast.parse(text)
            sets = names_set_by(tree)
            for node in ast.walk(tree):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                    uses.add(node.id)
                elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == '_base_':
                    uses.add(node.attr)
        else:
            sets = set(mmengine.load(path))
        files.append((sets, uses))
        if not Config._is_lazy_import(path):
            bases = Config._get_base_files(path)
            waiting += [Config._get_cfg_path(base, path)[0] for base in bases]
    return files
