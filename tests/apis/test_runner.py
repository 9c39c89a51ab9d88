import pytest
from mmengine.config import Config

from cdc_mm.apis import clear_errors, init_cpu_distribution, set_dataloader_defaults


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
