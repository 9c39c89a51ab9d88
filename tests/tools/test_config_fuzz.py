"""Configs with a mistake at any level: training is prepared, or one line says what is wrong."""

import copy
import importlib.util
import itertools
import math
import sys
from pathlib import Path

import pytest
import test_configs
import torch
from helpers import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.runner import Runner

from cdc_mm.engine import build_runner, read_config
from cdc_mm.engine.config import READ_KEYS

VALUES = (
    None, True, -1, 0, 0.5, 10**12, math.nan, '', 'nonsense', [], [1, 2], {}, dict(a=1),
    dict(type='Nothing'),
)  # fmt: skip
_runs = itertools.count()


class PreparedError(Exception):
    """Training would begin now."""


def plain_config(path, monkeypatch):
    """A shipped config on a few images, with a network that is built in a moment, as a dict."""
    cfg = read_config(str(ROOT / path))
    options = test_configs.generate_data(cfg, monkeypatch)
    if cfg.get('num_clusters'):
        options['num_clusters'] = 4  # no more than images
    options = {key: 40 if key.endswith('indices') else value for key, value in options.items()}
    cfg = read_config(str(ROOT / path), {'batch_size': 4, 'num_workers': 0, **options})
    if cfg.get('auto_scale_lr'):
        cfg.auto_scale_lr.base_batch_size = 4
    test_configs.shrink(cfg)
    if cfg.load_from or cfg.model.type == 'ImageClassifier':
        test_configs.write_checkpoint(cfg)
        cfg.load_from = 'pretrained.pth'
        for part in (cfg.model.backbone, *(cfg[x].dataset.get('encoder', {}) for x in LOADERS)):
            if 'weights' in part:
                part.weights = cfg.load_from
    return {key: value for key, value in cfg.to_dict().items() if key in READ_KEYS}


LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def places(part, path=()):
    """The paths of all keys and entries."""
    if isinstance(part, (dict, list, tuple)):
        items = part.items() if isinstance(part, dict) else enumerate(part)
        for key, value in items:
            yield (*path, key)
            yield from places(value, (*path, key))


def change(part, path, how, value):
    """A copy in which one key is mistyped or gone, or has another value."""
    first, *rest = path
    changed = list(part) if isinstance(part, tuple) else copy.copy(part)
    if rest:
        changed[first] = change(part[first], rest, how, value)
    elif how == 'remove':
        del changed[first]
    elif how == 'mistype' and isinstance(part, dict):
        changed = {f'{key[:-2]}{key[-1]}' if key == first and len(key) > 2 else key: kept
                   for key, kept in part.items()}  # fmt: skip
    else:
        changed[first] = value
    return changed


def load_tool(name, monkeypatch):
    """The module of a tool."""
    monkeypatch.syspath_prepend(ROOT / 'tools')
    spec = importlib.util.spec_from_file_location(name, ROOT / 'tools' / f'{name}.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def run_mistakes(tool, args, config, paths, monkeypatch, examples=30):
    """Run a tool with many configs that have one mistake each; how each run ended."""
    outcomes = []

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        path=st.sampled_from(paths),
        how=st.sampled_from(['mistype', 'remove', 'value', 'value']),
        value=st.sampled_from(VALUES),
    )
    def try_one(path, how, value):
        number = next(_runs)
        changed = change(config, path, how, value)
        text = ''.join(f'{key} = {value!r}\n' for key, value in changed.items())
        file = Path(f'x{number}.py').resolve()
        file.write_text(f'nan = float("nan")\n{text}')
        options = ['--work-dir', f'work{number}', '--cfg-options', f'experiment_name=fuzz{number}']
        monkeypatch.setattr(sys, 'argv', ['tool', str(file), *args, *options])
        try:
            tool.main()
            outcomes.append('done')
        except PreparedError:
            outcomes.append('done')
        except SystemExit as stopped:
            line, hint = str(stopped.code).splitlines()
            assert line.startswith('error: ') and len(line) < 1000, line
            assert 'CDC_MM_TRACEBACK' in hint
            outcomes.append('told')

    try_one()
    assert min(outcomes.count('done'), outcomes.count('told')) >= 5


def config_of(name, monkeypatch):
    (path,) = (ROOT / 'configs').rglob(f'{name}.py')
    return plain_config(path.relative_to(ROOT), monkeypatch)


@pytest.mark.parametrize(
    'name', ['cdc_digits', 'cdc_r18_cifar10_folder', 'cdc_r50_folder_pretrained', 'linear_digits']
)
def test_a_mistake_in_a_config_is_told_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a mistaken path leads into it
    config = config_of(name, monkeypatch)

    def train(runner):
        raise PreparedError

    monkeypatch.setattr(Runner, 'train', train)
    run_mistakes(load_tool('train', monkeypatch), [], config, list(places(config)), monkeypatch)


# What training alone reads is built for no test.
TRAINING = ('train_dataloader', 'train_cfg', 'val_dataloader', 'val_cfg', 'val_evaluator',
            'optim_wrapper', 'param_scheduler', 'auto_scale_lr')  # fmt: skip


@pytest.mark.parametrize('name', ['cdc_digits', 'cdc_r18_cifar10_folder', 'linear_digits'])
def test_a_mistake_in_a_config_that_is_tested_is_told_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = config_of(name, monkeypatch)
    model = build_runner(Config(dict(config, work_dir='trained', load_from=None))).model
    torch.save(dict(meta={}, state_dict=model.state_dict()), 'checkpoint.pth')
    paths = [path for path in places(config) if path[0] not in TRAINING]
    run_mistakes(
        load_tool('test', monkeypatch), ['checkpoint.pth', '--out', 'clusters.csv'], config, paths,
        monkeypatch,
    )  # fmt: skip
