import torch
from mmengine.config import Config

_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def read_config(filename: str) -> Config:
    """Read a config file. A ``.py`` file is code and runs as such.

    Args:
        filename (str): A ``.py``, ``.json`` or ``.yaml`` file.

    Returns:
        Config: The config.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read or does not give a config; says what is wrong with it.
    """
    try:
        return Config.fromfile(filename)
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever code may raise
        raise ValueError(f'config {filename}: {type(error).__name__}: {error}') from error


def set_dataloader_defaults(
    cfg: Config, pin_memory: bool = True, persistent_workers: bool = True
) -> None:
    """Fill in what mmpretrain's tools give every dataloader.

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
