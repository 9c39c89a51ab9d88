import pytest
import torch
from mmengine.config import Config

from cdc_mm.apis import (
    build_runner,
    clear_errors,
    init_cpu_distribution,
    set_dataloader_defaults,
)


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
