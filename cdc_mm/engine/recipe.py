"""What is told before a training whose data or processes are not those that its recipe is for."""

import math
from pathlib import Path
from typing import List, Optional

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseTTAModel
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from mmpretrain.models import MoCo
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from cdc_mm.datasets.seeding import unchanged_random
from cdc_mm.evaluation.functional import count_distinct
from cdc_mm.models import CDC, BaseClusterer, SplitBatchNorm2d
from cdc_mm.wrappers import unwrap_model

from .config import read_config
from .paths import naming_paths

_SMALL_IMAGES = (
    'configs/cdc_r18_cifar10_folder.py (with --cfg-options train_prefix= test_prefix= '
    'queue_size=None for a folder that is not split)'
)


def batch_option(cfg: Config) -> str:
    """What to type before ``=`` to set the batch size: its name in the config, or its key."""
    named = cfg.get('batch_size') == cfg.train_dataloader.batch_size
    return 'batch_size' if named else 'train_dataloader.batch_size'


def check_processes(
    cfg: Config, model: nn.Module, processes: int, images: Optional[int] = None
) -> List[str]:
    """Compare the batch of all processes with the one that the recipe is for.

    The recipe is for ``auto_scale_lr.base_batch_size`` images a step, so for as many processes as
    batches of the config file's ``train_dataloader.batch_size`` go into it. Where these are
    several and there is only one, MoCo's shuffle BN does nothing, and with plain batch norm query
    and key of an image share their statistics: the pretext is solved by them. That is refused. A
    config that is made for one process says so by a ``base_batch_size`` that is its batch size, or
    by none, and may have any norm.

    Args:
        cfg (Config): A full config.
        model (nn.Module): What it builds.
        processes (int): How many will train.
        images (int, optional): How many each of them has, which no batch that is advised exceeds.

    Returns:
        list: What to tell: nothing, or that the learning rate is for another batch.

    Raises:
        ValueError: If query and key would share their batch statistics, or if ``--auto-scale-lr``
            has nothing to scale by.
    """
    scaling = cfg.get('auto_scale_lr') or {}
    base = scaling.get('base_batch_size')
    if base is None:
        if scaling.get('enable'):
            raise ValueError(
                '--auto-scale-lr needs to know for how many images a step the learning rate is: '
                'add auto_scale_lr=dict(base_batch_size=N) to the config'
            )
        return []
    batch_size = cfg.train_dataloader.batch_size
    steps = cfg.optim_wrapper.get('accumulative_counts', 1)
    made_for = base // _own_batch_size(cfg)
    if processes == 1 and made_for > 1 and _shares_statistics(model):
        part = 'model.clusterer.backbone' if 'clusterer' in cfg.model else 'model.backbone'
        raise ValueError(
            f'this recipe is for {made_for} processes, and this is one: with plain batch norm '
            'query and key of an image share their batch statistics, and the pretext is solved '
            f'without learning anything. Start {made_for} processes (tools/dist_train.sh CONFIG '
            f'{made_for}), or add --cfg-options {part}.norm_cfg.type=SplitBN '
            f'{batch_option(cfg)}={base}.'
        )
    total = batch_size * processes * steps
    if scaling.get('enable') and steps > 1:
        raise ValueError(
            f'--auto-scale-lr does not count accumulative_counts={steps}: set the learning rate '
            f'for {total} images a step by hand, without it'
        )
    if total == base or scaling.get('enable'):
        return []
    ways = ['--auto-scale-lr']
    whole, rest = divmod(base, processes * steps)
    if rest == 0 and (images is None or whole <= images):
        ways.append(f'--cfg-options {batch_option(cfg)}={whole}')
    if base % (batch_size * steps) == 0:
        count = base // (batch_size * steps)
        ways.append(f'{count} process{"es" * (count > 1)} instead of {processes}')
    factors = f'{batch_size} x {processes} process{"es" * (processes > 1)}'
    factors += f' x {steps} accumulated' * (steps > 1)
    return [
        f'The learning rate is for {base} images a step, and here a step has {total} ({factors}). '
        f'What fits: {"; or ".join(ways)}.'
    ]


def _own_batch_size(cfg: Config) -> int:
    """The batch size that the file itself says, before the command line changed it."""
    filename = getattr(cfg, 'filename', None)
    if filename and Path(filename).is_file():
        cfg = read_config(filename)
    return cfg.train_dataloader.batch_size


def _shares_statistics(model: nn.Module) -> bool:
    """Whether on one process query and key of a MoCo would have the same batch statistics."""
    for part in unwrap_model(model).modules():
        if not isinstance(part, (CDC, MoCo)) or part.backbone is None:
            continue
        trained = any(param.requires_grad for param in part.backbone.parameters())
        norms = [m for m in part.backbone.modules() if isinstance(m, _BatchNorm)]
        if trained and norms and not any(isinstance(m, SplitBatchNorm2d) for m in norms):
            return True
    return False


def check_num_clusters(model: nn.Module, dataset: Dataset) -> None:
    """Refuse more clusters than the training data can have.

    Args:
        model (nn.Module): The model, not wrapped. Of one that is no clusterer nothing is asked.
        dataset (Dataset): The training data. Where it gives rows, copies of a row count once.

    Raises:
        ValueError: If there are fewer images, or different rows of them, than clusters.
    """
    if not isinstance(model, BaseClusterer):
        return
    images, clusters = len(dataset), model.num_clusters
    if images < clusters:
        raise ValueError(
            f'{images} images cannot be clustered into num_clusters={clusters}: lower it, or add '
            'images.'
        )
    rows = getattr(dataset, 'rows', None)
    distinct = clusters if rows is None else count_distinct(rows, clusters)
    if distinct < clusters:
        raise ValueError(
            f'the {images} images have only {distinct} different rows of features, which cannot be '
            f'clustered into num_clusters={clusters}: lower it, or leave out copies of images.'
        )


def check_image_size(cfg: Config, dataset: Dataset, val: Optional[Dataset] = None) -> List[str]:
    """Compare the images with the size that the network gets them in.

    Args:
        cfg (Config): A full config.
        dataset (Dataset): Its training data. Where it is no data set of images, nothing is told.
        val (Dataset, optional): Its validation data: training views may get their size only on the
            device.

    Returns:
        list: What to tell: nothing, or that the images are far smaller, where the network is
        trained from scratch.
    """
    # A network that has been trained wants the size that it knows.
    if cfg.get('load_from') or not hasattr(dataset, 'get_data_info') or not len(dataset):
        return []
    some = range(0, len(dataset), -(-len(dataset) // 5))
    sides = [side for side in (_shorter_side(dataset, i) for i in some) if side is not None]
    if not sides:
        return []
    with unchanged_random():
        sizes = [_size_for_network(data) for data in (dataset, val) if data is not None]
    side, size = int(np.median(sides)), max(sizes)
    if 2 * side > size:
        return []
    ways = [_SMALL_IMAGES] if side <= 64 else []
    if cfg.get('image_size') is not None:
        ways.append(f'--cfg-options image_size={side}')
    return [
        f'The images are {side} pixels wide or high, and the network gets them enlarged to {size}: '
        'that costs time and gives nothing.'
        + (f' What fits: {"; or ".join(ways)}.' if ways else '')
    ]


def check_first_batch(model: nn.Module, loader: DataLoader, cfg: Config) -> None:
    """Make the views of a small batch of images, which shows what is wrong with their steps.

    Where SplitBN gets one image a group, it is also seen whether a feature map has more than one
    value, without which a group has no statistics.

    Args:
        model (nn.Module): The model, built, not wrapped.
        loader (DataLoader): The training data. Where it has no images, nothing is looked at.
        cfg (Config): A full config.

    Raises:
        ValueError: If the views cannot be made, or batch statistics would be of one value.
    """
    dataset = loader.dataset
    if not hasattr(dataset, 'get_data_info') or not len(dataset):
        return
    cuda = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with unchanged_random(), torch.random.fork_rng(cuda):
        with naming_paths({}, 'data_preprocessor'):
            batch = loader.collate_fn([dataset[0]] * 2)
            views = model.data_preprocessor(batch, True)['inputs']
        while isinstance(views, (dict, list, tuple)):
            views = next(iter(views.values() if isinstance(views, dict) else views))
        _check_groups(model, views[:1], loader, cfg)


def check_prediction(model: nn.Module, loader: DataLoader, section: str) -> None:
    """Predict a small batch, which shows what is wrong with the data, their steps or the network.

    Args:
        model (nn.Module): The model of the runner, with or without its weights.
        loader (DataLoader): Data that it will be tested on.
        section (str): Name of these in the config.

    Raises:
        ValueError: If there are no images, or something fails; says where in the config.
    """
    if not len(loader.dataset):
        raise ValueError(f'{section}.dataset holds nothing')
    cuda = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    was_training = model.training
    with unchanged_random(), torch.random.fork_rng(cuda), torch.no_grad():
        with naming_paths({}, f'the pipeline of {section}'):
            batch = loader.collate_fn([loader.dataset[0], loader.dataset[0]])
        with naming_paths({}, 'data_preprocessor'):
            # With several views of an image at test time, a batch is one of all of them.
            if not any(isinstance(module, BaseTTAModel) for module in model.modules()):
                unwrap_model(model).data_preprocessor(batch, False)
        try:
            model.eval()
            with naming_paths({}, 'model'):
                model.test_step(batch)
        finally:
            model.train(was_training)


def _check_groups(model: nn.Module, image: Tensor, loader: DataLoader, cfg: Config) -> None:
    """Refuse a SplitBN whose groups are of one image with a feature map of one pixel."""
    size, images = cfg.train_dataloader.batch_size, len(loader.sampler)
    last = 0 if loader.drop_last else images % size  # the smaller batch at the end
    size = last or min(size, images)
    norms = [m for m in model.modules() if isinstance(m, SplitBatchNorm2d)]
    single = [m for m in norms if m.num_splits > 1 and math.gcd(size, m.num_splits) == size]
    encoder = getattr(model, 'backbone', None)
    if not single or encoder is None:
        return
    pixels = []
    hooks = [
        m.register_forward_hook(lambda m, inputs, out: pixels.append(inputs[0][0, 0].numel()))
        for m in single
    ]
    was_training = encoder.training
    try:
        encoder.eval()
        with torch.no_grad():
            encoder(image)
    finally:
        encoder.train(was_training)
        for hook in hooks:
            hook.remove()
    if pixels and min(pixels) == 1:
        side, more = min(image.shape[-2:]), 2 * max(m.num_splits for m in single)
        raise ValueError(
            f'batches of {size} in the {single[0].num_splits} groups of SplitBN are one image '
            f'each, and of images of {side} pixels the last features are 1x1: one value has no '
            f'batch statistics. What fits: --cfg-options {batch_option(cfg)}={more}'
            f'{" train_dataloader.drop_last=True" if last else ""}; or larger images.'
        )


def _shorter_side(dataset: Dataset, index: int) -> Optional[int]:
    """The shorter side of an image as it lies there; None if that cannot be told cheaply."""
    info = dataset.get_data_info(index)
    if info.get('img') is not None:
        return min(info['img'].shape[:2])
    try:
        with Image.open(info['img_path']) as image:  # reads the header only
            return min(image.size)
    except (KeyError, OSError):
        return None


def _size_for_network(dataset: Dataset) -> int:
    """The shorter side of the first image behind the pipeline; 0 if it gives no image."""
    inputs = dataset[0].get('inputs')
    while isinstance(inputs, (list, tuple)) and inputs:
        inputs = inputs[0]
    return min(inputs.shape[-2:]) if torch.is_tensor(inputs) and inputs.ndim >= 3 else 0
