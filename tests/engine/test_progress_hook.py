import logging
import re

import pytest
from helpers import CONFIG, ROOT, SMALL
from mmengine.config import Config, DictAction
from mmengine.logging import print_log

from cdc_mm import apis, console


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Train a small network and return the runner and what the console showed."""

    def train(name, **options):
        cfg = Config.fromfile(ROOT / CONFIG)
        small = dict(option.split('=') for option in SMALL)
        cfg.merge_from_dict({k: DictAction._parse_iterable(v) for k, v in small.items()})
        cfg.merge_from_dict(
            dict(experiment_name=name, work_dir=str(tmp_path), val_cfg=None, val_dataloader=None,
                 val_evaluator=None)
        )  # fmt: skip
        cfg.merge_from_dict(options)
        apis.set_dataloader_defaults(cfg)
        runner = apis.build_runner(cfg)
        runner.train()
        return runner, [line[10:] for line in capsys.readouterr().out.splitlines()]

    for name in ('_FIRST_SECONDS', '_NEXT_SECONDS'):
        monkeypatch.setattr(console, name, 0)
    return train


def test_each_long_iteration_is_told(run):
    _, lines = run('long', **{'train_cfg.max_epochs': 1})
    told = [line for line in lines if line.startswith('epoch 1/1, batch')]
    assert len(told) == 22
    assert re.fullmatch(
        r'epoch 1/1, batch 3/22 \(14%, \d:\d\d:\d\d left\): loss [\d.]+, assign_entropy [\d.]+, '
        r'largest_share [\d.]+, zn_std [\d.]+',
        told[2],
    )


def test_training_by_iterations(run):
    _, lines = run('iterations', train_cfg=dict(_delete_=True, by_epoch=False, max_iters=3))
    assert lines[1].startswith('iteration 1/3 (33%, ')
    assert next(line for line in lines if line.startswith('trained')).startswith(
        'trained to iteration 3 in 0:0'
    )


def test_the_console_leaves_out_what_hosts_say_but_not_their_warnings(run, capsys):
    runner, _ = run('hosts', **{'train_cfg.max_epochs': 1})
    runner.logger.info('ours')
    runner.logger.info('ours')
    print_log("a host's", logger='current')
    print_log("a host's warning", logger='current', level=logging.WARNING)
    print_log('"FileClient" will be deprecated in future.', 'current', logging.WARNING)
    lines = [line[10:] for line in capsys.readouterr().out.splitlines()]
    assert lines == ['ours', "warning: a host's warning"]
