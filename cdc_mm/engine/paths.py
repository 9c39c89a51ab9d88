"""Says of what fails while a config is built where in the config it is."""

import difflib
import inspect
import re
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, Iterator, List, Optional, Tuple

from mmengine.registry import Registry, build_functions

from cdc_mm.errors import RunError

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
    found = '', None, None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code is build_functions.build_from_cfg.__code__:
            part, registry = (trace.tb_frame.f_locals.get(x) for x in ('cfg', 'registry'))
            path = _path_of(part, sections) if isinstance(part, dict) else ''
            if path:
                found = path, part, registry
        trace = trace.tb_next
    return found


def _path_of(part: dict, sections: dict) -> str:
    """Where a config that is being built comes from: what has the most entries of it."""
    best, most = '', 0
    for path, candidate in _dicts('', sections):
        if candidate.get('type') != part.get('type'):
            continue
        shared = sum(key in part and _same(part[key], value) for key, value in candidate.items())
        if shared > most:
            best, most = path, shared
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
    if 'must contain the key "type"' in text:
        near = difflib.get_close_matches('type', map(str, part))
        return f'{path} has no type{f", but {near[0]}" if near else ""}: {dict(part)}'
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
    missing = re.search(r'missing \d+ required (?:positional|keyword-only) arguments?: (.*)', text)
    if missing:
        return f'{path} lacks {missing[1]}'
    name = '' if isinstance(error, (ValueError, RuntimeError)) else f'{type(error).__name__}: '
    reason = ' '.join(text.split()) or type(error).__name__
    if reason == type(error).__name__:
        name = ''
    return f'{path}: {name}{reason}' if path else f'{name}{reason}'


def no_such_type(path: str, name: Any, registry: Optional[Registry]) -> str:
    """Says that a registry has no such type, and what is near."""
    near = difflib.get_close_matches(str(name), registered(registry))
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
