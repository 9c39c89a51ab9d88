import os
import tempfile
from contextlib import contextmanager
from datetime import timedelta
from typing import Iterator, Optional

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch import nn

from cdc_mm.engine import hooks
from cdc_mm.errors import RunError

from .checkpoint import check_checkpoint, find_resumable, read_seed

_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


@contextmanager
def clear_errors() -> Iterator[None]:
    """End the program with one line for what a user can mend.

    Wraps the time before work starts: reading the config, building, opening data and checkpoints.
    ``CDC_MM_TRACEBACK=1`` shows the traceback.
    """
    try:
        yield
    except (AssertionError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        if os.environ.get('CDC_MM_TRACEBACK'):
            raise
        message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
        if isinstance(error, FileNotFoundError) and error.filename:
            message = (
                f'{error.filename} does not exist. Put the data there or point data_root of the '
                'dataset (or the path you gave) to where it is.'
            )
        raise _one_line(message or type(error).__name__) from error


@contextmanager
def clear_run_errors() -> Iterator[None]:
    """End the program with one line for what stops a running job and its user can mend.

    Wraps the work itself: bad data, a data worker or another process that died, a full disk.
    Anything else is a mistake in the code and keeps its traceback; ``CDC_MM_TRACEBACK=1`` shows the
    others' too.
    """
    try:
        yield
    except RuntimeError as error:
        message = _reason(str(error), isinstance(error, RunError))
        if message is None or os.environ.get('CDC_MM_TRACEBACK'):
            raise
        raise _one_line(message) from error


def _reason(text: str, known: bool) -> Optional[str]:
    if known:
        # From a data worker, torch hands on the whole traceback as text.
        return text.rsplit(f'{RunError.__name__}: ', 1)[-1].strip()
    if 'DataLoader worker (pid' in text:
        return (
            f'{text.strip().rstrip(".")}. The system kills workers when memory runs out: '
            'lower num_workers, batch_size or the size of the images.'
        )
    if 'DataLoader timed out' in text:
        return (
            f'{text.strip()}: a data worker hangs or the data are too slow. Raise the timeout of '
            'the dataloader if they are.'
        )
    if 'Connection closed by peer' in text or 'Connection reset by peer' in text:
        return (
            'another process of the job has ended. Its own message, or the log of the system if it '
            'was killed, as for want of memory, says why.'
        )
    if 'stack expects each tensor to be equal size' in text:
        return (
            'the images of a batch differ in size: add a transform that resizes or crops them to '
            'the pipeline of the dataset.'
        )
    return None


def _one_line(message: str) -> SystemExit:
    return SystemExit(f'error: {message}\n(CDC_MM_TRACEBACK=1 shows where it was raised.)')


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


def init_cpu_distribution(cfg: Config) -> None:
    """Start torch.distributed on a machine without CUDA, where mmengine would insist on it.

    Args:
        cfg (Config): Changed in place, so that the model is wrapped without device ids.
    """
    if cfg.get('launcher', 'none') == 'none' or torch.cuda.is_available():
        return
    if cfg.launcher != 'pytorch':
        raise ValueError(
            f'--launcher {cfg.launcher} needs CUDA; on CPUs use tools/dist_train.sh or torchrun '
            'with --launcher pytorch'
        )
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo', timeout=timedelta(minutes=10))
    # What mmengine does by itself on GPUs, but for the device ids, which CPUs must not have.
    wrapper = dict(type='MMDistributedDataParallel', broadcast_buffers=False, device_ids=None)
    cfg.model_wrapper_cfg = {**wrapper, **cfg.get('model_wrapper_cfg', {})}


def build_runner(cfg: Config) -> Runner:
    """Build the runner of a config. Without CUDA, SyncBN becomes the batch norm of each process.

    Args:
        cfg (Config): A full config. With ``resume`` it gets the checkpoint to go on from as
            ``load_from`` and the seed of that run.

    Returns:
        Runner: mmengine's, or the config's ``runner_type``.

    Raises:
        ValueError: If the work dir cannot be written to or no checkpoint of it can be read.
    """
    _check_work_dir(cfg.work_dir)
    if cfg.get('randomness', {}).get('deterministic'):
        # cuBLAS wants it before its first use.
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    init_cpu_distribution(cfg)
    damaged = []
    if cfg.get('resume') and cfg.get('load_from') is None:
        cfg.load_from, damaged = find_resumable(cfg.work_dir)
    if cfg.get('resume') and cfg.get('load_from') is not None and '://' not in cfg.load_from:
        # The data are shuffled by the seed of the runner, not by that of the checkpoint.
        seed = read_seed(cfg.load_from)
        if seed is not None:
            cfg.setdefault('randomness', {}).seed = seed
    runner = Runner.from_cfg(cfg) if 'runner_type' not in cfg else RUNNERS.build(cfg)
    for reason in damaged:
        runner.logger.warning(f'Passed over: {reason}')
    synced = any(isinstance(m, nn.SyncBatchNorm) for m in runner.model.modules())
    if synced and not torch.cuda.is_available():
        runner.model = revert_sync_batchnorm(runner.model)
        runner.logger.warning('SyncBN needs CUDA: here every process has its own batch norm.')
    return runner


def _check_work_dir(path: str) -> None:
    try:
        os.makedirs(path, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise ValueError(
            f'the work dir {path} cannot be written to: {error.strerror}. Choose another with '
            '--work-dir.'
        ) from error


def prepare_training(runner: Runner) -> None:
    """Build data and optimiser and check the checkpoint: mistakes show before training starts.

    Args:
        runner (Runner): As built, before ``runner.train()``.

    Raises:
        ValueError: If there is no full batch or a batch of one, if ranks would have different
            batches, or if the checkpoint does not fit.
    """
    loader = runner.train_dataloader
    batch_size, images = runner.cfg.train_dataloader.batch_size, len(loader.sampler)
    if len(loader) == 0:
        raise ValueError(
            f'the training data has {images} images a rank, less than one batch of {batch_size}, '
            'and drop_last=True leaves none. Lower train_dataloader.batch_size.'
        )
    if not getattr(loader.sampler, 'round_up', True) and get_world_size() > 1:
        raise ValueError(
            'with round_up=False of the sampler ranks have batches of different sizes, or a '
            'different number of them. Leave it out of train_dataloader.sampler.'
        )
    if batch_size == 1 or (images % batch_size == 1 and len(loader) > images // batch_size):
        raise ValueError(
            f'batches of {batch_size} from {images} images a rank leave a batch of one, which has '
            'no batch statistics and cannot be spread over clusters. Change '
            'train_dataloader.batch_size or set drop_last=True.'
        )
    _ = runner.val_loop
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    for hook in runner.hooks:
        if isinstance(hook, hooks.PretrainedBackboneHook) and not runner._resume:
            hook.check(runner)
            return
    checkpoint = runner._load_from
    if checkpoint is not None:
        check_checkpoint(runner.model, checkpoint, 'resume' if runner._resume else 'init')


def prepare_test(runner: Runner) -> None:
    """Open the data and check the checkpoint.

    Args:
        runner (Runner): As built, before ``runner.test()``.

    Raises:
        ValueError: If the checkpoint does not fit, or the model predicts nothing.
    """
    model = getattr(runner.model, 'module', runner.model)  # inside DDP or test-time augmentation
    if not hasattr(model, 'predict'):
        raise ValueError(
            f'{type(model).__name__} predicts nothing that could be tested. tools/eval_knn.py, '
            'tools/eval_kmeans.py and configs/linear/ judge its features.'
        )
    _ = runner.test_loop
    check_checkpoint(runner.model, runner._load_from, 'test')
