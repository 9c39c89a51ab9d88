import ast
import difflib
import inspect
import os.path as osp
from types import FunctionType
from typing import Dict, Iterable, List, Optional, Set, Tuple

import mmengine
import torch
from mmengine.config import Config
from mmengine.config import config as host
from mmengine.runner import Runner

from cdc_mm.shipped import find_shipped

from .paths import shorten
from .sections import SectionError, check_sections

_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')

# What is read from a config: the arguments of the runner, what the runner looks up besides, and
# what Config.fromfile and this project's tools read.
READ_KEYS = frozenset(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'} | {
    'activation_checkpointing',
    'compile',
    'custom_imports',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'memory_format',
    'model_wrapper_cfg',
    'runner_type',
    'sync_bn',
    'tta_model',
    'tta_pipeline',
}


def read_config(filename: str, options: Optional[dict] = None) -> Config:
    """Read a config file. A ``.py`` file is code and runs as such.

    An option without a dot sets a name of the config: all files of the chain of ``_base_`` run with
    that value in place of their own, so that it reaches whatever they derive from the name. Keys
    with dots, and dicts for what the runner takes, are merged into the result.

    Args:
        filename (str): A ``.py``, ``.json`` or ``.yaml`` file; one that comes with this package,
            ``configs/cdc_digits.py`` say, is found from any folder.
        options (dict, optional): What ``--cfg-options`` gives: values by name (``num_clusters``) or
            by dotted key (``model.head.t``).

    Returns:
        Config: The config; without options what ``Config.fromfile`` gives.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read or does not give a config, if an option is unknown, or if
            it reaches nothing; says what is wrong with it.
    """
    filename = find_shipped(str(filename))
    if '://' in filename:
        raise ValueError(
            f'the config {filename} is an address. A config runs as code: read it and give it as a '
            'local file.'
        )
    if not osp.isfile(filename):
        raise FileNotFoundError(f'there is no config file {filename}{_files_like(filename)}')
    try:
        cfg = Config.fromfile(filename)
        if options:
            cfg = _with_options(cfg, dict(options))
        check_sections(cfg)
        return cfg
    except (_OptionError, SectionError) as error:
        raise ValueError(f'config {filename}: {error}') from None
    except Exception as error:  # whatever code may raise
        raise ValueError(
            f'config {filename}: {type(error).__name__}: {shorten(str(error))}'
        ) from error


def _files_like(filename: str) -> str:
    folder, name = osp.split(filename)
    if not osp.isdir(folder or '.'):
        return ''
    near = _near(name, mmengine.scandir(folder or '.', ('.py', '.json', '.yaml', '.yml')))
    return f'; near it: {", ".join(osp.join(folder, x) for x in near)}' if near else ''


class _OptionError(Exception):
    """An option that the config cannot take."""


def _with_options(cfg: Config, options: dict) -> Config:
    names = {key for key in options if '.' not in key}
    lazy = Config._is_lazy_import(cfg.filename)
    if lazy and names - READ_KEYS:
        raise _OptionError(
            f'{", ".join(sorted(names - READ_KEYS))}: names of a config that uses read_base cannot '
            'be set. Set the values by their dotted keys.'
        )
    set_by_files = set() if lazy else run_files(cfg.filename, {})[1]
    for key in options:
        _check_key(key, cfg, set_by_files | set(cfg.keys()))
    values = {
        name: options.pop(name)
        for name in names & set_by_files
        if name not in READ_KEYS
        or not (isinstance(options[name], dict) or isinstance(cfg.get(name), dict))
    }
    if values:
        for name, value in values.items():
            _check_literal(name, value)
            if isinstance(cfg.get(name), str) and type(value) in (int, float):
                values[name] = str(value)  # a folder may be called 2024
        (cfg_dict, text, env_variables), _ = run_files(cfg.filename, values)
        for name in values.keys() - READ_KEYS:
            others = {key: value for key, value in values.items() if key != name}
            before = run_files(cfg.filename, others)[0][0]
            if before.get(name) != values[name] and _without(before, name) == _without(
                cfg_dict, name
            ):
                raise _OptionError(
                    f'{name} reaches nothing: nothing in the config or its bases is derived from '
                    f'it. Set the value itself by its dotted key.{_block(cfg)}'
                )
        cfg = Config(cfg_dict, cfg_text=text, filename=cfg.filename, env_variables=env_variables)
    cfg.merge_from_dict(options)
    return cfg


def _check_key(key: str, cfg: Config, known: set) -> None:
    first, *rest = key.split('.')
    if first not in known | READ_KEYS:
        near = _near(first, {*known, *READ_KEYS})
        raise _OptionError(
            f'there is no {first}{f" (of {key})" if rest else ""} to set.'
            + (f' Near it: {", ".join(near)}.' if near else '')
            + _block(cfg)
        )
    if rest and first not in READ_KEYS:
        raise _OptionError(
            f'{key} reaches nothing: {first} is a name from which others are derived. Give all of '
            f'{first}, or set the derived value by its own dotted key.'
        )


def _check_literal(name: str, value) -> None:
    try:
        ast.literal_eval(repr(value))
    except (SyntaxError, ValueError):
        raise _OptionError(f'{name}={value!r} cannot be written as a literal of Python') from None


def _block(cfg: Config) -> str:
    names = [
        name
        for name, value in cfg.items()
        if name not in READ_KEYS and not isinstance(value, (dict, list))
    ]
    return f' The names of this config: {", ".join(names)}.' if names else ''


def _near(name: str, names: Iterable[str]) -> List[str]:
    names = sorted(set(names) - {'_base_'})
    # A part of the given name, or longer than it, is near too: lr to base_lr.
    parts = [known for known in names if known in name.split('_') or name in known.split('_')]
    return list(dict.fromkeys([*difflib.get_close_matches(name, names), *parts]))


def _without(cfg_dict: dict, name: str) -> dict:
    return {key: value for key, value in cfg_dict.items() if key != name}


def run_files(filename: str, values: dict) -> Tuple[Tuple[dict, str, dict], set]:
    """``Config._file2dict`` with other values for some names.

    Args:
        filename (str): The config file.
        values (dict): The value of each name that is to have another one than in the files.

    Returns:
        tuple: What ``Config._file2dict`` returns, and the names that the files of the chain set.
    """
    found = set()

    class Reader(Config):
        @staticmethod
        def _pre_substitute_base_vars(filename: str, temp_config_name: str) -> dict:
            """Mmengine's last step before a file, as it is run, is plain Python or data."""
            base_vars = Config._pre_substitute_base_vars(filename, temp_config_name)
            found.update(_set_names(temp_config_name, values))
            return base_vars

    # The reader calls its parts, and itself for each base, by the name of the class. Under this
    # copy of it the name means the class above; mmengine's own stays as it is.
    read = Config._file2dict
    Reader._file2dict = staticmethod(
        FunctionType(
            read.__code__, {**vars(host), 'Config': Reader}, read.__name__, read.__defaults__
        )
    )
    return Reader._file2dict(filename), found


def _set_names(filename: str, values: dict) -> Dict[str, None]:
    """Let a file set names to other values; returns all names that it sets."""
    if not filename.endswith('.py'):
        data = mmengine.load(filename)
        changed = {name: value for name, value in values.items() if name in data}
        if changed:
            mmengine.dump({**data, **changed}, filename)
        return dict.fromkeys(data)
    with open(filename, encoding='utf-8') as file:
        tree = ast.parse(file.read())
    setter = _NameSetter(values)
    tree = setter.visit(tree)
    if values.keys() & setter.names.keys():
        with open(filename, 'w', encoding='utf-8') as file:
            file.write(ast.unparse(tree))
    return setter.names


def names_set_by(tree: ast.Module) -> Set[str]:
    """The names that a config file sets, other than within functions."""
    setter = _NameSetter({})
    setter.visit(tree)
    return set(setter.names)


class _NameSetter(ast.NodeTransformer):
    """After each statement of a module that sets one of the names, sets it to its value."""

    def __init__(self, values: dict) -> None:
        self.values = values
        self.names = {}

    def visit(self, node: ast.AST):
        """Leaves alone what functions and classes set: it is their own."""
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            return node
        if not isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            return self.generic_visit(node)
        targets = getattr(node, 'targets', None) or [node.target]
        names = [
            part.id
            for target in targets
            for part in ast.walk(target)
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
        ]
        self.names.update(dict.fromkeys(names))
        lines = [f'{name} = {self.values[name]!r}' for name in names if name in self.values]
        return [node, *ast.parse('\n'.join(lines)).body]


def use_amp(cfg: Config) -> None:
    """Train in mixed precision: in bfloat16, or as the config's own settings for CUDA say.

    ``loss_scale``, ``dtype`` and ``use_fsdp`` are of mmengine's ``AmpOptimWrapper``, and so is a
    GPU that has no bfloat16.

    Args:
        cfg (Config): Changed in place.
    """
    wrapper, names = cfg.optim_wrapper, ('loss_scale', 'dtype', 'use_fsdp')
    if torch.cuda.is_available() and (
        any(name in wrapper for name in names)
        or not torch.cuda.is_bf16_supported(including_emulation=False)
    ):
        wrapper.type = 'AmpOptimWrapper'
        wrapper.setdefault('loss_scale', 'dynamic')
    else:
        wrapper.type = 'BFloat16OptimWrapper'
        for name in names:
            wrapper.pop(name, None)


def set_dataloader_defaults(
    cfg: Config, pin_memory: bool = True, persistent_workers: bool = True
) -> None:
    """Fill in what depends on the machine, and for other configs what mmpretrain's tools fill in.

    Args:
        cfg (Config): Changed in place.
        pin_memory (bool): False turns pinning off, whatever the config says.
        persistent_workers (bool): False turns persistent workers off. They are off anyway without
            workers, where torch refuses them.
    """
    for field in _LOADERS:
        loader = cfg.get(field)
        if loader is None:
            continue
        loader.setdefault('collate_fn', dict(type='default_collate'))
        # Pinning needs an accelerator and only warns without one.
        loader.setdefault('pin_memory', torch.cuda.is_available())
        loader.setdefault('persistent_workers', True)
        loader.pin_memory &= pin_memory
        if loader.get('num_workers', 0) > 0:
            # torch would wait for ever for a worker that hangs; one that dies it notices by itself.
            loader.setdefault('timeout', 300)
        loader.persistent_workers &= persistent_workers and loader.get('num_workers', 0) > 0
