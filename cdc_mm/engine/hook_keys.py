"""Names and arguments of hooks that would pass though nothing reads them."""

import difflib
import inspect
from typing import Any, Iterator, Optional, Set, Tuple

from mmengine.config import Config
from mmengine.hooks import Hook
from mmpretrain.engine.hooks import EMAHook, VisualizationHook
from mmpretrain.registry import HOOKS, MODELS
from mmpretrain.visualization import UniversalVisualizer

# Those that the runner has by itself, which it says in its code only.
_OF_RUNNER = dict(
    runtime_info='RuntimeInfoHook',
    timer='IterTimerHook',
    sampler_seed='DistSamplerSeedHook',
    logger='LoggerHook',
    param_scheduler='ParamSchedulerHook',
    checkpoint='CheckpointHook',
)
# Those of the shipped configs, which may be taken away: `rank_watch=None`.
_SHIPPED = {
    *('broadcast_bn', 'collapse_watch', 'contact_sheet', 'exact_resume', 'faulty_images'),
    *('prepare', 'rank_watch', 'visualization'),
}
# What VisualizationHook gives to the visualizer itself.
_GIVEN = {'self', 'image', 'data_sample', 'show', 'out_file', 'name', 'step'}


def check_hooks(cfg: Config) -> None:
    """Refuse a misnamed entry of ``default_hooks``, and arguments that a hook only hands on.

    ``default_hooks`` takes any name, so that a mistyped one adds a second hook, or takes
    none away. Two hooks of the host take any argument, and fail at the first validation or image.

    Args:
        cfg (Config): Its sections are of the right kind (:func:`check_sections`).

    Raises:
        ValueError: Names the key by its full path, and the nearest that is read.
    """
    section = cfg.get('default_hooks') or {}
    known = _SHIPPED | set(_OF_RUNNER)
    for name, hook in section.items():
        near = difflib.get_close_matches(name, known, n=1)
        if name in known or not near:
            continue
        kind, (meant,) = _type_of(hook), near
        if hook is None:
            reason = 'takes no hook away'
        elif isinstance(hook, dict) and 'type' not in hook:
            reason = 'has no type'
        elif meant in _OF_RUNNER and kind and issubclass(kind, HOOKS.get(_OF_RUNNER[meant])):
            reason = f'adds a second {kind.__name__}'
        else:
            continue
        raise ValueError(f'default_hooks.{name} {reason}. Near it: default_hooks.{meant}.')
    hooks = [(f'default_hooks.{name}', hook) for name, hook in section.items()]
    hooks += [(f'custom_hooks[{i}]', hook) for i, hook in enumerate(cfg.get('custom_hooks') or [])]
    for path, hook in hooks:
        for key, known in _handed_on(hook):
            if key not in known:
                near = difflib.get_close_matches(str(key), known)
                raise ValueError(
                    f'{path}.{key} is no argument of {_type_of(hook).__name__}.'
                    f' {"Near it" if near else "There are"}: {", ".join(near or sorted(known))}.'
                )


def _type_of(hook: Any) -> Optional[type]:
    if isinstance(hook, Hook):
        return type(hook)
    kind = hook.get('type') if isinstance(hook, dict) else None
    kind = HOOKS.get(kind) if isinstance(kind, str) else kind
    return kind if inspect.isclass(kind) else None


def _handed_on(hook: Any) -> Iterator[Tuple[Any, Set[str]]]:
    """Each argument of a hook that takes any, and those that what it is handed on to knows."""
    kind = _type_of(hook) if isinstance(hook, dict) else None
    if kind is None:
        return
    if issubclass(kind, VisualizationHook):
        known = _params(kind) | _params_of(UniversalVisualizer.visualize_cls) - _GIVEN
    elif issubclass(kind, EMAHook):
        ema = hook.get('ema_type', 'ExponentialMovingAverage')
        ema = MODELS.get(ema) if isinstance(ema, str) else ema
        if not inspect.isclass(ema):
            return  # is told where it is built
        known = _params(kind) | _params(ema) - {'model'}
    else:
        return
    yield from ((key, known) for key in hook if key not in ('type', '_scope_', 'priority'))


def _params(kind: type) -> Set[str]:
    """Arguments of a constructor, with those of the classes that it inherits from."""
    return set().union(*(_params_of(c.__init__) for c in inspect.getmro(kind) if c is not object))


def _params_of(function) -> Set[str]:
    return set(inspect.signature(function).parameters) - {'self', 'args', 'kwargs'}
