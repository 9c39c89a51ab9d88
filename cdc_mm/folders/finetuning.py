"""The network of a clustered folder learns, too: self-labelling from where the clusters are."""

from copy import deepcopy
from pathlib import Path
from typing import List, Optional

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS
from torch import nn

from cdc_mm.engine import build_runner, prepare_training, read_config
from cdc_mm.engine.console_runner import show_warnings_only
from cdc_mm.shipped import find_shipped
from cdc_mm.wrappers import unwrap_model

FINETUNE_RECIPE = 'configs/folder/selflabel_lite0.py'


def finetune(
    model: nn.Module,
    config: dict,
    folder: Path,
    paths: List[str],
    epochs: int,
    image_size: int,
    seed: int,
    num_workers: int,
    work_dir: Path,
    hook: Optional[Hook] = None,
) -> nn.Module:
    """Train a clusterer with its network on the images of a folder.

    Args:
        model (nn.Module): It, trained on rows of the frozen network.
        config (dict): Its config, with ``backbone``.
        folder (Path): The images.
        paths (list[str]): Of those that can be read, as the data set of the folder has them.
        epochs (int): How long.
        image_size (int): Pixels that the network sees.
        seed (int): Of all that is drawn.
        num_workers (int): Processes that read images.
        work_dir (Path): Where files of the run go.
        hook (Hook, optional): One more.

    Returns:
        nn.Module: A model of the same config, frozen again, in evaluation mode.
    """
    torch.save(model.state_dict(), work_dir / 'frozen.pth')
    cfg = _recipe(config, folder, paths, epochs, image_size, num_workers)
    cfg.load_from = str(work_dir / 'frozen.pth')
    cfg.work_dir = str(work_dir / 'finetuned')
    cfg.experiment_name = f'{work_dir.name}_finetuned'  # two runs may start in the same second
    cfg.randomness.seed = seed
    runner = build_runner(cfg)
    show_warnings_only(runner)
    prepare_training(runner)
    if hook is not None:
        runner.register_hook(hook, priority='LOWEST')
    runner.train()
    found = unwrap_model(runner.model).clusterer
    found.encoder.requires_grad_(False)
    found.encoder.frozen = True
    return found.eval()


def _recipe(
    config: dict, folder: Path, paths: List[str], epochs: int, image_size: int, num_workers: int
) -> Config:
    values = dict(
        num_clusters=config['num_clusters'],
        epochs=epochs,
        image_size=image_size,
        data_root=str(folder),
        num_workers=num_workers,
    )
    recipe = find_shipped(FINETUNE_RECIPE)
    values['batch_size'] = min(read_config(recipe).batch_size, len(paths))
    cfg = read_config(recipe, values)
    cfg.model.clusterer = deepcopy(config)
    cfg.model.clusterer.backbone['freeze'] = False
    cfg.train_dataloader.dataset.indices = _indices(folder, set(paths))
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.default_hooks.pop('contact_sheet')
    cfg.default_hooks.checkpoint = None
    cfg.default_hooks.logger.interval = max(1, len(paths) // cfg.batch_size)
    return cfg


def _indices(folder: Path, paths: set) -> List[int]:
    """Numbers of the images among all of the folder."""
    init_default_scope('mmpretrain')
    images = DATASETS.build(
        dict(type='ImageFolder', data_root=str(folder), with_label=False, pipeline=[])
    )
    return [i for i in range(len(images)) if images.get_data_info(i)['img_path'] in paths]
