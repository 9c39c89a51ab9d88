"""The network of a clustered folder learns, too: CDC from where the clusters are."""

from copy import deepcopy
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from torch import nn

from cdc_mm.engine import build_runner, prepare_training, read_config
from cdc_mm.engine.console_runner import show_warnings_only
from cdc_mm.models import BaseEncoder
from cdc_mm.shipped import find_shipped
from cdc_mm.wrappers import unwrap_model

FINETUNE_RECIPE = 'configs/folder/cdc_finetune.py'
_COMPONENTS = 128  # that clusters are told from; the recipe of the heads has as many
_SHRINKAGE = 0.1  # of the ridge regression, in the mean variance of a component


def finetune(
    encoder: BaseEncoder,
    backbone: dict,
    rows: np.ndarray,
    clusters: np.ndarray,
    num_clusters: int,
    folder: Path,
    paths: List[str],
    epochs: int,
    image_size: int,
    seed: int,
    num_workers: int,
    work_dir: Path,
    hook: Optional[Hook] = None,
) -> BaseEncoder:
    """Train a network on the images of a folder by CDC, from where their clusters are.

    Args:
        encoder (BaseEncoder): It, frozen.
        backbone (dict): Its config.
        rows (np.ndarray): What it makes of the images, (N, D).
        clusters (np.ndarray): Cluster of each image, (N,), in [0, num_clusters).
        num_clusters (int): K.
        folder (Path): The images.
        paths (list[str]): The N that can be read, as the data set of the folder has them.
        epochs (int): How long.
        image_size (int): Pixels that the network sees.
        seed (int): Of all that is drawn.
        num_workers (int): Processes that read images.
        work_dir (Path): Where files of the run go.
        hook (Hook, optional): One more.

    Returns:
        BaseEncoder: A network of the same config whose weights are halfway between ``encoder``'s
        and those that it learned, frozen, in evaluation mode: it knows what either knows (`Wortsman
        et al., 2022 <https://arxiv.org/abs/2109.01903>`_, section 3).
    """
    values = dict(
        num_clusters=num_clusters,
        epochs=epochs,
        image_size=image_size,
        data_root=str(folder),
        num_workers=num_workers,
    )
    cfg = _recipe(backbone, folder, paths, values)
    head = cfg.model.head
    head.instance_dim = min(head.instance_dim, len(rows) - 1, rows.shape[1])
    weight, bias = start_neck(rows, clusters, num_clusters, head.instance_dim)
    state = {f'encoder.{name}': value for name, value in encoder.state_dict().items()}
    state |= {'neck.fc.weight': torch.from_numpy(weight), 'neck.fc.bias': torch.from_numpy(bias)}
    cfg.load_from = str(work_dir / 'start.pth')
    torch.save(state, cfg.load_from)
    cfg.work_dir = str(work_dir / 'finetuned')
    cfg.experiment_name = f'{work_dir.name}_finetuned'  # two runs may start in the same second
    cfg.randomness.seed = seed
    runner = build_runner(cfg)
    show_warnings_only(runner)
    prepare_training(runner)
    if hook is not None:
        runner.register_hook(hook, priority='LOWEST')
    runner.train()
    found = unwrap_model(runner.model).encoder
    go_halfway(found, encoder)
    found.requires_grad_(False)
    found.frozen = True
    return found.eval()


@torch.no_grad()
def go_halfway(network: nn.Module, other: nn.Module) -> None:
    """Give a network the mean of its own weights and those of another one of its kind."""
    for own, more in zip(network.parameters(), other.parameters(), strict=True):
        own.lerp_(more.to(own), 0.5)


def start_neck(
    rows: np.ndarray, clusters: np.ndarray, num_clusters: int, instance_dim: int
) -> Tuple[np.ndarray, np.ndarray]:
    """A linear map of rows to z whose zc says the clusters that there are.

    zc is a ridge regression of the clusters, one-hot less 1 / K, on the principal components of the
    rows, and zn are the first components.

    Args:
        rows (np.ndarray): Shape (N, D).
        clusters (np.ndarray): Cluster of each row, (N,), in [0, K).
        num_clusters (int): K.
        instance_dim (int): C, below N and at most D.

    Returns:
        tuple: Weight (K + C, D) and bias (K + C,), float32.
    """
    rows = np.asarray(rows, np.float32)
    count = min(max(_COMPONENTS, instance_dim), len(rows) - 1, rows.shape[1])
    pca = PCA(count, svd_solver='covariance_eigh').fit(rows)
    points = pca.transform(rows)
    shrinkage = _SHRINKAGE * len(rows) * points.var(axis=0).mean()
    targets = np.eye(num_clusters, dtype=np.float32)[clusters] - 1 / num_clusters
    ridge = Ridge(alpha=float(shrinkage)).fit(points, targets)
    maps = np.concatenate([ridge.coef_, np.eye(instance_dim, count)])
    bias = np.concatenate([ridge.intercept_, np.zeros(instance_dim)])
    weight = maps @ pca.components_
    return weight.astype(np.float32), (bias - weight @ pca.mean_).astype(np.float32)


def _recipe(backbone: dict, folder: Path, paths: List[str], values: Dict) -> Config:
    recipe = find_shipped(FINETUNE_RECIPE)
    batch_size = min(read_config(recipe).batch_size, len(paths))
    cfg = read_config(recipe, dict(values, batch_size=batch_size))
    cfg.model.backbone = dict(deepcopy(backbone), freeze=False)
    cfg.model.queue_size = min(cfg.model.queue_size, max(len(paths) // 2, values['num_clusters']))
    cfg.train_dataloader.dataset.indices = _indices(folder, set(paths))
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.default_hooks.pop('contact_sheet')
    cfg.default_hooks.checkpoint = None
    cfg.default_hooks.logger.interval = max(1, len(paths) // batch_size)
    return cfg


def _indices(folder: Path, paths: set) -> List[int]:
    """Numbers of the images among all of the folder."""
    init_default_scope('mmpretrain')
    images = DATASETS.build(
        dict(type='ImageFolder', data_root=str(folder), with_label=False, pipeline=[])
    )
    return [i for i in range(len(images)) if images.get_data_info(i)['img_path'] in paths]
