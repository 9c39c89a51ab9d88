import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import run_ranks
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.dataset import DefaultSampler

from cdc_mm.apis import (
    build_runner,
    clear_errors,
    clear_run_errors,
    init_cpu_distribution,
    prepare_training,
    read_config,
    set_dataloader_defaults,
)
from cdc_mm.errors import RunError


@pytest.mark.parametrize(
    ('error', 'message'),
    [
        (ValueError('K must be 2'), 'error: K must be 2'),
        (KeyError('no such class'), 'error: no such class'),
        (AssertionError(), 'error: AssertionError'),
        (FileNotFoundError(2, 'No such file', 'data/x'), 'error: data/x does not exist'),
        (FileNotFoundError('there is no checkpoint'), 'error: there is no checkpoint'),
    ],
)
def test_mistakes_end_with_one_line(error, message, monkeypatch):
    with pytest.raises(SystemExit, match=message), clear_errors():
        raise error
    monkeypatch.setenv('CDC_MM_TRACEBACK', '1')
    with pytest.raises(type(error)), clear_errors():
        raise error


def test_other_errors_pass():
    with pytest.raises(ZeroDivisionError), clear_errors():
        _ = 1 / 0


def loaders(**kwargs):
    cfg = Config(dict(train_dataloader=dict(num_workers=2), val_dataloader=None) | kwargs)
    return cfg


def test_dataloader_defaults():
    cfg = loaders(test_dataloader=dict(num_workers=0, collate_fn=dict(type='pseudo_collate')))
    set_dataloader_defaults(cfg)
    assert cfg.train_dataloader.persistent_workers is True
    assert cfg.train_dataloader.collate_fn.type == 'default_collate'
    assert cfg.test_dataloader.persistent_workers is False  # torch refuses it without workers
    assert cfg.test_dataloader.collate_fn.type == 'pseudo_collate'


def test_a_worker_that_hangs_is_not_waited_for_for_ever():
    cfg = loaders(test_dataloader=dict(num_workers=0))
    set_dataloader_defaults(cfg)
    assert cfg.train_dataloader.timeout == 300
    assert 'timeout' not in cfg.test_dataloader  # torch refuses it without workers


def test_dataloader_flags_win():
    cfg = loaders(train_dataloader=dict(num_workers=2, pin_memory=True, persistent_workers=True))
    set_dataloader_defaults(cfg, pin_memory=False, persistent_workers=False)
    assert cfg.train_dataloader.pin_memory is False
    assert cfg.train_dataloader.persistent_workers is False


def test_cpu_distribution_needs_torchrun():
    init_cpu_distribution(Config(dict(launcher='none')))
    with pytest.raises(ValueError, match='slurm needs CUDA'):
        init_cpu_distribution(Config(dict(launcher='slurm')))


def test_sync_bn_works_without_cuda(tmp_path):
    cfg = Config(
        dict(
            model=dict(
                type='CDC',
                backbone=dict(type='SmallConvNet', norm_cfg=dict(type='SyncBN')),
                neck=dict(type='MoCoV2Neck', in_channels=128, hid_channels=8),
                head=dict(type='CDCHead', num_clusters=3, instance_dim=4),
                queue_size=8,
            ),
            work_dir=str(tmp_path),
            default_scope='mmpretrain',
            experiment_name='sync_bn',
        )
    )
    model = build_runner(cfg).model
    views = [torch.randn(4, 3, 8, 8, device=next(model.parameters()).device) for _ in range(2)]
    losses = model(views, mode='loss')
    assert losses['loss_infonce'].isfinite()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    suffix=st.sampled_from(['.py', '.json', '.yaml']),
    lines=st.lists(
        st.sampled_from(
            ['model = dict(type="CDC")', 'x = 1 / 0', 'y = nobody', 'import none_such', 'a = (',
             '{', '_base_ = "none.py"', '_base_ = 3', '"a": [1', 'a: {b: [c', '}', '\x00',
             '    b = 2', 'raise SystemError', 'c = {{fileDirname}}', 'd = "{{$HOME:x}}"', '[1, 2]',
             'a = a.b']
        ),
        max_size=4,
    ),
)  # fmt: skip
def test_no_config_does_more_than_refuse(suffix, lines):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f'x{suffix}'
        path.write_text('\n'.join(lines))
        try:
            config = read_config(str(path))
        except (FileNotFoundError, ValueError) as error:
            assert str(error)
        else:
            assert isinstance(config, Config)


def test_a_mistake_in_a_config_names_file_and_mistake(tmp_path):
    (tmp_path / 'x.py').write_text('a = nobody')
    with pytest.raises(ValueError, match=r"config .*x\.py: NameError: name 'nobody'"):
        read_config(str(tmp_path / 'x.py'))
    with pytest.raises(FileNotFoundError):
        read_config(str(tmp_path / 'none.py'))


@pytest.mark.parametrize(
    ('error', 'message'),
    [
        (RunError('the disk is full'), 'error: the disk is full\n'),
        (RunError('Caught RunError in worker 0.\n  trace\ncdc_mm.errors.RunError: bad x.jpg\n'),
         'error: bad x.jpg\n'),
        (RuntimeError('DataLoader timed out after 9 s'), 's: a data worker hangs'),
        (RuntimeError('[pair.cc:1] Connection closed by peer'), 'another process of the job'),
    ],
)  # fmt: skip
def test_what_stops_a_run_is_told_in_one_line(error, message, monkeypatch):
    with pytest.raises(SystemExit, match=message), clear_run_errors():
        raise error
    monkeypatch.setenv('CDC_MM_TRACEBACK', '1')
    with pytest.raises(RuntimeError), clear_run_errors():
        raise error


def test_mistakes_in_the_code_keep_their_traceback():
    with pytest.raises(RuntimeError, match='shape'), clear_run_errors():
        raise RuntimeError('shape mismatch')


def _round_up(rank, world_size, sampler):
    cfg = Config(dict(train_dataloader=dict(batch_size=4)))
    with pytest.raises(ValueError, match='round_up=False'):
        prepare_training(SimpleNamespace(train_dataloader=Loader(sampler), cfg=cfg))
    return True


class Loader:
    def __init__(self, sampler):
        self.sampler = sampler

    def __len__(self):
        return 3


def test_ranks_with_different_batches_are_refused():
    sampler = DefaultSampler(range(13), round_up=False, seed=0)
    assert run_ranks(2, _round_up, sampler) == [True, True]
