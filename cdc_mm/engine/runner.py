import difflib
import inspect
import os
import warnings
from copy import deepcopy
from datetime import timedelta
from typing import Optional

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.hooks import CheckpointHook
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.registry import RUNNERS
from mmengine.runner import Runner, TestLoop, ValLoop
from mmpretrain.registry import OPTIMIZERS
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from cdc_mm.atomic import check_output
from cdc_mm.checkpoints import (
    check_backbone,
    check_checkpoint,
    fetch_checkpoint,
    find_resumable,
    read_meta,
    read_state_dict,
)
from cdc_mm.models import BaseClusterer, BaseEncoder
from cdc_mm.models.clusterers import check_views
from cdc_mm.processes import end_with_parent
from cdc_mm.wrappers import unwrap_model

from .config_keys import check_keys
from .console_runner import ConsoleRunner
from .hooks import (
    ConsensusHook,
    DECHook,
    FitRowsHook,
    PretrainedBackboneHook,
    ReclusterHook,
    SelfLabelHook,
)
from .paths import naming_paths, no_such_type
from .recipe import (
    batch_option,
    check_first_batch,
    check_image_size,
    check_num_clusters,
    check_prediction,
    check_processes,
)
from .resuming import check_resumed
from .work_dir import check_work_dir

# What mmengine finds addresses of published files by.
_ZOOS = ('torchvision://', 'modelzoo://', 'open-mmlab://', 'openmmlab://', 'mmcls://')

# What nothing but a clusterer can be trained with.
_OF_CLUSTERERS = (ConsensusHook, FitRowsHook, ReclusterHook, SelfLabelHook)


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
        dist_cfg = (cfg.get('env_cfg') or {}).get('dist_cfg') or {}
        timeout = timedelta(seconds=dist_cfg.get('timeout', 2100))
        torch.distributed.init_process_group('gloo', timeout=timeout)
    # What mmengine does by itself on GPUs, but for the device ids, which CPUs must not have.
    wrapper = dict(type='MMDistributedDataParallel', broadcast_buffers=False, device_ids=None)
    cfg.model_wrapper_cfg = {**wrapper, **cfg.get('model_wrapper_cfg', {})}


def build_runner(cfg: Config) -> Runner:
    """Build the runner of a config. Without CUDA, SyncBN becomes the batch norm of each process.

    Args:
        cfg (Config): A full config. With ``resume`` it gets the checkpoint to go on from as
            ``load_from`` and the seed of that run. An address in ``load_from`` becomes the file
            that it was fetched to.

    Returns:
        Runner: A :class:`ConsoleRunner`, or the config's ``runner_type``.

    Raises:
        ValueError: If the work dir cannot be written to, no checkpoint of it can be read, the
            config has a key that nothing reads (:func:`check_keys`), or a part cannot be built.
    """
    check_keys(cfg)
    # mmengine writes the config into the log, a file and each checkpoint, each time through yapf.
    object.__setattr__(cfg, '_format_python_code', False)
    if cfg.get('launcher') == 'pytorch':
        end_with_parent()  # torchrun may be killed
    check_work_dir(cfg.work_dir)
    if cfg.get('randomness', {}).get('deterministic'):
        # cuBLAS wants it before its first use.
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    init_cpu_distribution(cfg)
    damaged = []
    if cfg.get('resume') and cfg.get('load_from') is None:
        cfg.load_from, damaged = find_resumable(cfg.work_dir)
    fetched = None
    if cfg.get('load_from') is not None:
        cfg.load_from, fetched = fetch_checkpoint(cfg.load_from)
    if cfg.get('resume') and cfg.get('load_from') is not None:
        # The data are shuffled by the seed of the runner, not by that of the checkpoint.
        seed = read_meta(cfg.load_from).get('seed')
        if seed is not None:
            cfg.setdefault('randomness', {}).seed = seed
    with naming_paths(cfg):
        runner = ConsoleRunner.from_cfg(cfg) if 'runner_type' not in cfg else RUNNERS.build(cfg)
    if fetched:
        runner.logger.info(fetched)
    for reason in damaged:
        runner.logger.warning(f'Passed over: {reason}')
    synced = any(isinstance(m, nn.SyncBatchNorm) for m in runner.model.modules())
    if synced and not torch.cuda.is_available():
        runner.model = revert_sync_batchnorm(runner.model)
        runner.logger.warning('SyncBN needs CUDA: here every process has its own batch norm.')
    return runner


def prepare_training(runner: Runner) -> None:
    """Build data and optimiser and check the checkpoint: mistakes show before training starts.

    What need not be a mistake is told: a batch or images that the recipe is not for.

    Args:
        runner (Runner): As built, before ``runner.train()``.

    Raises:
        FileNotFoundError: If the weights of an encoder are missing.
        ValueError: If there is no full batch or a batch of one, if ranks would have different
            batches, if the data lack a view that the model needs or have fewer
            images than it has clusters, if the recipe needs several
            processes (see :func:`check_processes`), or if the checkpoint does not fit.
    """
    loader = _open_data(runner, 'train')
    batch_size, images = runner.cfg.train_dataloader.get('batch_size'), len(loader.sampler)
    if batch_size is None:
        raise ValueError('train_dataloader lacks batch_size')
    if len(loader) == 0:
        raise ValueError(
            f'the training data has {images} images a rank, less than one batch of {batch_size}, '
            'and drop_last=True leaves none. Lower train_dataloader.batch_size: --cfg-options '
            f'{batch_option(runner.cfg)}={_fitting(images)} fits.'
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
    _check_model(runner)
    told = check_processes(runner.cfg, runner.model, get_world_size(), images)
    val = _open_data(runner, 'val')
    with naming_paths({}, 'the pipeline of train_dataloader or val_dataloader'):
        told += check_image_size(runner.cfg, loader.dataset, getattr(val, 'dataset', None))
    check_first_batch(unwrap_model(runner.model), loader, runner.cfg)
    if type(runner.val_loop) is ValLoop:
        check_prediction(runner.model, val, 'val_dataloader')
    if batch_size > images:
        told.append(
            f'The training data has {images} images a rank, less than one batch of {batch_size}: '
            f'every step has all of them. What fits: --cfg-options {batch_option(runner.cfg)}='
            f'{_fitting(images)}.'
        )
    for warning in told:
        runner.logger.warning(warning)
    checkpoint = runner._load_from
    if runner._resume and checkpoint is not None:
        for change in check_resumed(runner, checkpoint):
            runner.logger.warning(f'Resumed with other settings: {change}.')
    _build_optimizer(runner)
    _check_what_comes_later(runner)
    for hook in runner.hooks:
        if isinstance(hook, PretrainedBackboneHook) and not runner._resume:
            hook.check(runner)
            return
    if checkpoint is not None:
        check_checkpoint(runner.model, checkpoint, 'resume' if runner._resume else 'init')


def _check_what_comes_later(runner: Runner) -> None:
    """Refuse what would otherwise end a training at its first save, step or validation."""
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook):
            _check_checkpoint_hook(hook)
    metrics = getattr(runner.val_loop, 'evaluator', None)
    for metric in getattr(metrics, 'metrics', ()):
        if getattr(metric, 'out_file_path', None):
            check_output(metric.out_file_path, 'val_evaluator.out_file_path')


def _check_checkpoint_hook(hook: CheckpointHook) -> None:
    # It takes any arguments, and hands on to what saves those that it does not know.
    known = sorted(inspect.signature(CheckpointHook).parameters.keys() - {'kwargs'})
    for name in hook.args:
        near = difflib.get_close_matches(name, known)
        raise ValueError(
            f'default_hooks.checkpoint.{name} is read by nothing. '
            f'{"Near it" if near else "There are"}: {", ".join(near or known)}.'
        )
    for name in ('interval', 'max_keep_ckpts', 'save_begin'):
        value = getattr(hook, name)
        if not isinstance(value, int):
            raise ValueError(
                f'default_hooks.checkpoint.{name} must be a whole number, got {value!r}'
            )


def _open_data(runner: Runner, split: str) -> Optional[DataLoader]:
    """Build data and loop of a split; None if there is none."""
    section = f'{split}_dataloader'
    if runner.cfg.get(section) is None:
        return None
    sections = {name: runner.cfg.get(name) for name in (section, f'{split}_evaluator')}
    with naming_paths(sections, section):
        return getattr(runner, section)


def _build_optimizer(runner: Runner) -> None:
    """Build the optimiser, and try the schedule on a stand-in: it is built when training starts."""
    section = runner.cfg.get('optim_wrapper') or {}
    optimizer = section.get('optimizer')
    if 'constructor' not in section:
        if not isinstance(optimizer, (dict, Optimizer)):
            raise ValueError(f'optim_wrapper.optimizer must be a dict, got {optimizer!r}')
        kind = optimizer.get('type') if isinstance(optimizer, dict) else type(optimizer)
        if kind is None:
            raise ValueError('optim_wrapper.optimizer has no type')
        if isinstance(kind, str) and OPTIMIZERS.get(kind) is None:
            raise ValueError(no_such_type('optim_wrapper.optimizer.type', kind, OPTIMIZERS))
    with naming_paths(dict(optim_wrapper=section), 'optim_wrapper'):
        runner.optim_wrapper = built = runner.build_optim_wrapper(runner.optim_wrapper)
    if not isinstance(built, OptimWrapper) or runner.param_schedulers is None:
        return
    schedule = dict(param_scheduler=runner.cfg.get('param_scheduler'))
    with naming_paths(schedule, 'param_scheduler'), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # that a schedule steps before the optimiser has
        try:
            runner.optim_wrapper = OptimWrapper(_stand_in(built.optimizer))
            schedulers = runner.build_param_scheduler(deepcopy(runner.param_schedulers))
            for scheduler in schedulers:
                scheduler.step()
        finally:
            runner.optim_wrapper = built


def _stand_in(optimizer: Optimizer) -> Optimizer:
    """An optimiser with the settings of another and weights of its own."""
    groups = [
        {**group, 'params': [nn.Parameter(torch.zeros(1))]} for group in optimizer.param_groups
    ]
    return torch.optim.SGD(groups, lr=0.0)


def _fitting(images: int) -> int:
    """The largest power of two that is at most the number of images."""
    return 1 << (images.bit_length() - 1)


def _check_model(runner: Runner) -> None:
    """Refuse data that lack what the model needs, and an encoder without its weights."""
    model = unwrap_model(runner.model)
    if runner.cfg.get('val_dataloader') is not None:
        _check_predicts(model, ' Set val_dataloader, val_evaluator and val_cfg to None.')
    for hook in runner.hooks:
        if isinstance(hook, _OF_CLUSTERERS) and not isinstance(model, BaseClusterer):
            raise ValueError(
                f'{type(hook).__name__} works on clusters, and {type(model).__name__} has none: '
                'leave the hook out, or train a clusterer'
            )
        if isinstance(hook, SelfLabelHook):
            hook.configure(model)
        elif isinstance(hook, DECHook):
            hook.check(runner)
    if isinstance(model, BaseClusterer):
        # The views come from the data set, where it gives rows, or from the preprocessor.
        source = runner.train_dataloader.dataset
        if not hasattr(source, 'view_names'):
            source = model.data_preprocessor
        if hasattr(source, 'view_names'):
            check_views(model, source.view_names)
        check_num_clusters(model, runner.train_dataloader.dataset)
        model.prepare(len(runner.train_dataloader.dataset))
    for module in model.modules():
        if isinstance(module, BaseEncoder) and module.weights is not None and not runner._resume:
            state = module.read_weights(module.weights)
            check_backbone(module.backbone, state, module.weights)
        _check_init_cfg(module)


def _check_predicts(model: nn.Module, remedy: str = '') -> None:
    """Refuse a pretext, which gives features alone, where predictions are asked for."""
    if not hasattr(model, 'predict'):
        raise ValueError(
            f'{type(model).__name__} predicts nothing that could be tested. tools/eval_knn.py, '
            f'tools/eval_kmeans.py and configs/linear/ judge its features.{remedy}'
        )


def _check_init_cfg(module: nn.Module) -> None:
    """Refuse a checkpoint of ``init_cfg`` that cannot be read or fills nothing of its module."""
    init_cfg = getattr(module, 'init_cfg', None)
    for init in init_cfg if isinstance(init_cfg, (list, tuple)) else [init_cfg]:
        if not isinstance(init, dict) or init.get('type') != 'Pretrained':
            continue
        filename = init.get('checkpoint')
        if not isinstance(filename, str) or filename.startswith(_ZOOS):
            continue
        state = read_state_dict(filename)
        prefix = init.get('prefix') or ''
        if prefix:
            prefix = f'{prefix.rstrip(".")}.'
        own = module.state_dict()
        if not any(prefix + name in state for name in own):
            raise ValueError(
                f'{filename} of init_cfg fills nothing of {type(module).__name__}: it has no '
                f'{prefix}{next(iter(own), "")}. Name what stands before it there: '
                "init_cfg=dict(type='Pretrained', checkpoint=..., prefix=...)."
            )


def prepare_test(runner: Runner) -> None:
    """Open the data and check the checkpoint.

    Args:
        runner (Runner): As built, before ``runner.test()``.

    Raises:
        ValueError: If the checkpoint does not fit, or the model predicts nothing.
    """
    _check_predicts(unwrap_model(runner.model))
    loader = _open_data(runner, 'test')
    check_checkpoint(runner.model, runner._load_from, 'test')
    if type(runner.test_loop) is TestLoop:
        check_prediction(runner.model, loader, 'test_dataloader')
