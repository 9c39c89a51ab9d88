"""What a training that is resumed may have other than before, and what it may not."""

import ast
import warnings
from typing import Any, Dict, List, Tuple

from mmengine.runner import EpochBasedTrainLoop, Runner

from cdc_mm.checkpoints import read_meta

# Another one of these is another training.
_FIXED = ('model', 'data_preprocessor', 'optim_wrapper.optimizer', 'optim_wrapper.paramwise_cfg')
_FIXED += ('train_cfg.type', 'train_cfg.by_epoch')
# These change what is learned from here on: that is told. What else there is may change.
_TOLD = ('optim_wrapper', 'train_dataloader.dataset', 'train_dataloader.sampler', 'custom_hooks')
# Files that were read when the training began, what the schedule sets anew, and how steps are
# computed.
_FREE = ('init_cfg', 'weights', 'lr', 'fused')
_ABSENT = object()


def check_resumed(runner: Runner, checkpoint: str) -> List[str]:
    """Compare a training with the one that wrote the checkpoint from which it is to go on.

    Args:
        runner (Runner): As built, with its data.
        checkpoint (str): A local file.

    Returns:
        list: What is other, as sentences.

    Raises:
        ValueError: If the model, the optimiser or the number of images is another one, or within
            an epoch the number of its batches.
    """
    meta = read_meta(checkpoint)
    anew = f'or start anew from its weights: load_from={checkpoint} in place of --resume.'
    images = len(runner.train_dataloader.dataset)
    if meta.get('images', images) != images:
        raise ValueError(
            f'{checkpoint} was trained on {meta["images"]} images, and here are {images}. Resume '
            f'with the same images, {anew}'
        )
    texts = [meta.get('cfg') or '', runner.cfg.pretty_text]
    before, now = (read_literals(text) for text in texts)
    changes = differences(before, now) if before else {}
    told = [
        f'{path}: {_short(then)} in the checkpoint, {_short(given)} now'
        for path, (then, given) in changes.items()
        if _is_below(path, _FIXED) and path.split('.')[-1] not in _FREE
    ]
    # An older version wrote the same model in other words; its weights are checked.
    if told and 'run_id' in meta:
        raise ValueError(
            f'{checkpoint} is of a run with other settings ({"; ".join(told[:3])}). Resume with '
            f'the same ones, {anew}'
        )
    told += [
        f'{path}: {_short(then)} in the checkpoint, {_short(given)} now'
        for path, (then, given) in changes.items()
        if (_is_below(path, _TOLD) and not _is_below(path, _FIXED)) or path.endswith('optimizer.lr')
    ]
    return told + _check_batches(runner, meta, checkpoint)


def _check_batches(runner: Runner, meta: dict, checkpoint: str) -> List[str]:
    before, now = meta.get('epoch_length'), len(runner.train_dataloader)
    if before is None or before == now:
        return []
    if isinstance(runner.train_loop, EpochBasedTrainLoop) and meta['iter'] != (
        meta['epoch'] * before
    ):
        raise ValueError(
            f'{checkpoint} is from within an epoch of {before} batches, and here an epoch has '
            f'{now}. Resume with the batch size and the number of processes that it had, or from '
            'a checkpoint at the end of an epoch.'
        )
    return [f'an epoch had {before} batches in the checkpoint and has {now} now']


def read_literals(text: str) -> Dict[str, Any]:
    """The values of a config's text, without running it; what is no literal stays text.

    Args:
        text (str): What ``Config.pretty_text`` gives.

    Returns:
        dict: Empty if it is no Python.
    """
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):
        return {}
    return {
        node.targets[0].id: _value(node.value)
        for node in body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def _value(node: ast.AST):
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        return {keyword.arg: _value(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {str(_value(k)): _value(v) for k, v in zip(node.keys, node.values, strict=True)}
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(item) for item in node.elts]
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def differences(before: Any, now: Any, path: str = '') -> Dict[str, Tuple[Any, Any]]:
    """Where two nested values differ: both by dotted path, as deep as it can be said."""
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        before, now = dict(enumerate(before)), dict(enumerate(now))
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return {} if before == now else {path: (before, now)}
    found = {}
    for key in [*before, *(key for key in now if key not in before)]:
        inner = f'{path}.{key}' if path else str(key)
        found.update(differences(before.get(key, _ABSENT), now.get(key, _ABSENT), inner))
    return found


def _is_below(path: str, roots: Tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(root + '.') for root in roots)


def _short(value: Any) -> str:
    text = 'absent' if value is _ABSENT else repr(value)
    return text if len(text) <= 60 else text[:57] + '...'


_PROGRESS = ('last_step', '_global_step', '_last_value', 'verbose')
_PROGRESS += ('best', 'num_bad_epochs', 'cooldown_counter')


def continue_schedule(runner: Runner, checkpoint: dict) -> None:
    """Where the schedule is another one than in the checkpoint, let it be this one.

    mmengine goes on with the old one, whose end lies in its saved state. Here the new one is where
    it would be if the training had had it from the start.

    Args:
        runner (Runner): Before what is in the checkpoint is handed out, its schedulers as built.
        checkpoint (dict): Its schedulers, and in the optimiser what they set, are changed in
            place; and its number of iterations if an epoch has become longer or shorter.
    """
    meta, now = checkpoint['meta'], len(runner.train_dataloader)
    by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
    longer = meta.get('epoch_length', now) != now
    if longer and by_epoch:
        meta['iter'] = meta['epoch'] * now
    schedulers, saved = runner.param_schedulers, checkpoint.get('param_schedulers')
    if not isinstance(schedulers, list) or saved is None or 'optimizer' not in checkpoint:
        return
    before, after = ([_settings(state) for state in states] for states in (
        saved, [scheduler.state_dict() for scheduler in schedulers]
    ))  # fmt: skip
    changes = differences(before, after)
    if not changes and not longer:
        return
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)  # of steps without those of the optimiser
        for step in range(meta['iter']):
            ends = by_epoch and (step + 1) % now == 0
            # As ParamSchedulerHook has it: those by iterations first.
            for turn in (False, True) if ends else (False,):
                for scheduler in schedulers:
                    if scheduler.by_epoch == turn:
                        scheduler.step()
    checkpoint['param_schedulers'] = [scheduler.state_dict() for scheduler in schedulers]
    groups = runner.optim_wrapper.param_groups
    names = {scheduler.param_name for scheduler in schedulers}
    for group, old in zip(groups, checkpoint['optimizer']['param_groups'], strict=True):
        for name in (*names, *(f'initial_{name}' for name in names)):
            if name in group:
                old[name] = group[name]
    what = ', '.join(
        f'{path.rpartition(".")[2]} {_short(then)} -> {_short(given)}'
        for path, (then, given) in list(changes.items())[:4]
    )
    runner.logger.info(
        f'The schedule is another one than in the checkpoint ({what or "by other epochs"}): it '
        f'goes on as if it had been this one from the start, at {", ".join(sorted(names))} '
        + ', '.join(f'{groups[0][name]:.4g}' for name in sorted(names) if name in groups[0])
        + '.'
    )


def _settings(state: dict) -> dict:
    return {key: value for key, value in state.items() if key not in _PROGRESS}
