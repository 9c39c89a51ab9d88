"""Says of what fails while a config is built where in the config it is."""

import difflib
import inspect
import re
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, Iterator, List, Optional, Tuple

from mmengine.registry import Registry, build_functions
from mmengine.runner import runner as host_runner

from cdc_mm.errors import RunError

# What of the runner reads which section, besides the constructors that a registry calls.
_READERS = dict(
    setup_env='env_cfg',
    set_randomness='randomness',
    build_model='model',
    build_visualizer='visualizer',
    build_log_processor='log_processor',
    _check_scheduler_cfg='param_scheduler',
    build_param_scheduler='param_scheduler',
    build_logger='log_level',
    build_train_loop='train_cfg',
    build_val_loop='val_cfg',
    build_test_loop='test_cfg',
    build_dataloader='',  # whichever it is
)
_LONGEST = 300  # characters of a reason, in which mmengine puts whole configs
# What says already what is wrong, and with which file.
_CLEAR = (OSError, RunError, MemoryError)


@contextmanager
def naming_paths(sections: dict, default: str = '') -> Iterator[None]:
    """Turn what constructors raise into a ValueError that names the path in the config.

    For the time in which a config is built. mmengine gives neither the path nor, of a mistyped key
    or type, what there is instead; and what a constructor makes of a wrong value may be an error
    of any type.

    Args:
        sections (dict): The config, or those sections of it that are built here.
        default (str): The path to name where none of the registries' constructors has failed.

    Raises:
        ValueError: ``path: reason``, in one line.
    """
    # What is built may enter things into its config.
    before = deepcopy({name: sections[name] for name in sections})
    try:
        yield
    except _CLEAR:
        raise
    except Exception as error:  # whatever a constructor may raise
        path, part, registry = _built(error, before)
        raise ValueError(_explain(error, path or default, part, registry)) from error


def _built(error: BaseException, sections: dict) -> Tuple[str, Optional[dict], Any]:
    """The path and the config of the innermost part that was being built, and its registry."""
    path, part, registry = '', None, None
    trace = error.__traceback__
    while trace is not None:
        frame, trace = trace.tb_frame, trace.tb_next
        if frame.f_code is build_functions.build_from_cfg.__code__:
            built = frame.f_locals['cfg']
            found = _path_of(built, sections, path) if isinstance(built, dict) else ''
            if found or part is None:
                path, part, registry = found or path, built, frame.f_locals['registry']
        elif frame.f_code.co_filename == host_runner.__file__:
            path = _READERS.get(frame.f_code.co_name, path)
    return path, part if isinstance(part, dict) else None, registry


def _path_of(part: dict, sections: dict, within: str) -> str:
    """Where a config that is being built comes from: what has the most entries of it."""
    best, most = '', (0, False, False)
    for path, candidate in _dicts('', sections):
        if candidate.get('type') != part.get('type'):
            continue
        shared = sum(key in part and _same(part[key], value) for key, value in candidate.items())
        # A constructor may have added entries.
        fit = (shared, shared == len(candidate), path.startswith(within))
        if fit > most:
            best, most = path, fit
    return best


def _same(a: Any, b: Any) -> bool:
    try:
        return bool(a == b)
    except Exception:  # arrays
        return False


def _dicts(path: str, part: Any) -> Iterator[Tuple[str, dict]]:
    """All dicts in a config with their paths: ``custom_hooks[0]``, ``model.head.assigner``."""
    if isinstance(part, dict):
        if path:
            yield path, part
        for key, value in part.items():
            yield from _dicts(f'{path}.{key}' if path else str(key), value)
    elif isinstance(part, (list, tuple)):
        for i, value in enumerate(part):
            yield from _dicts(f'{path}[{i}]', value)


def _explain(error: Exception, path: str, part: Optional[dict], registry: Any) -> str:
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    part = part or {}
    kind = part.get('type')
    if 'must contain the key "type"' in text or 'should contain the key type' in text:
        near = difflib.get_close_matches('type', map(str, part)) if kind is None else []
        where = path if kind is None else f'a part of {path}'
        return f'{where} has no type' + (f', but {near[0]}' if near else '')
    if 'is not in the' in text and 'registry' in text:
        return no_such_type(f'{path}.type', kind or text.split(' ', 1)[0], registry)
    unexpected = re.search(r"unexpected keyword argument '(\w+)'", text)
    if unexpected:
        key = unexpected[1]
        taken = _taken_by(kind, registry)
        near = difflib.get_close_matches(key, taken)
        at = f'{path}.{key}' if key in part or not part else f'{path}: {key}'
        return f'{at} is no argument of {kind or "it"}.' + (
            f' Near it: {", ".join(near)}.' if near else ''
        )
    if text.endswith('() takes no arguments') and part.keys() - {'type'}:
        key = next(key for key in part if key != 'type')
        return f'{path}.{key} is no argument of {kind}, which takes none.'
    missing = re.search(r'missing \d+ required (?:positional|keyword-only) arguments?: (.*)', text)
    if missing:
        return f'{path} lacks {missing[1]}'
    reason = shorten(text)
    if not reason or not isinstance(error, (ValueError, RuntimeError)):
        reason = f'{type(error).__name__}: {reason}' if reason else type(error).__name__
    return f'{path}: {reason}' if path else reason


def shorten(text: str) -> str:
    """A reason in one line, cut off where it is long."""
    reason = ' '.join(text.split())
    return f'{reason[:_LONGEST]} ...' if len(reason) > _LONGEST else reason


def no_such_type(path: str, name: Any, registry: Optional[Registry]) -> str:
    """Says that a registry has no such type, and what is near."""
    names = registered(registry)
    near = [x for x in names if x.lower() == str(name).lower()]
    near += [x for x in difflib.get_close_matches(str(name), names) if x not in near]
    return f'{path}: there is no {name}.' + (f' Near it: {", ".join(near)}.' if near else '')


def registered(registry: Optional[Registry]) -> List[str]:
    """The names that a registry has, with those of the registries above it."""
    names = set()
    while registry is not None:
        names |= set(registry.module_dict)
        registry = registry.parent
    return sorted(names)


def _taken_by(kind: Any, registry: Optional[Registry]) -> List[str]:
    built = registry.get(kind) if isinstance(kind, str) and registry is not None else kind
    if not callable(built):
        return []
    names = set()
    for part in inspect.getmro(built) if inspect.isclass(built) else [built]:
        try:
            names |= set(inspect.signature(part).parameters)
        except (TypeError, ValueError):
            continue
    return sorted(names - {'self', 'args', 'kwargs'})
