from copy import deepcopy
from typing import Optional, Tuple

import numpy as np
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, set_random_seed
from mmengine.utils import track_iter_progress
from mmpretrain.registry import MODELS
from torch import nn
from torch.utils.data import DataLoader

from cdc_mm.checkpoints import check_checkpoint, read_state_dict

from .outputs import iterate_outputs


def load_model(cfg: Config, checkpoint: str) -> nn.Module:
    """Build the model of a config, with the weights of a checkpoint, on the GPU if there is one.

    The random seed becomes the config's, or 0, so that an analysis repeats.

    Args:
        cfg (Config): A full config.
        checkpoint (str): A local file.

    Returns:
        nn.Module: The model in evaluation mode.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the checkpoint does not fit the config.
    """
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    set_random_seed(cfg.get('randomness', {}).get('seed') or 0)
    model = MODELS.build({'data_preprocessor': cfg.get('data_preprocessor'), **cfg.model})
    check_checkpoint(model, checkpoint, 'test')
    model.load_state_dict(read_state_dict(checkpoint), strict=False)
    return model.to(get_device()).eval()


def build_test_loader(cfg: Config, augmented: bool = False) -> DataLoader:
    """The images of the test split, in their order.

    Args:
        cfg (Config): A full config.
        augmented (bool): Whether they go through the pipeline of training, which may make views.

    Raises:
        FileNotFoundError: If the data are not there.
    """
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    cfg = deepcopy(cfg)
    if augmented:
        cfg.test_dataloader.dataset.pipeline = cfg.train_dataloader.dataset.pipeline
    cfg.test_dataloader.setdefault('collate_fn', dict(type='default_collate'))
    return Runner.build_dataloader(cfg.test_dataloader)


def collect_outputs(
    model: nn.Module, loader: DataLoader, output: str, view: Optional[int] = None
) -> Tuple[np.ndarray, np.ndarray]:
    """Run a labelled data set through a model, showing progress.

    Args:
        model (nn.Module): See :func:`load_model`.
        loader (DataLoader): See :func:`build_test_loader`.
        output (str): See :func:`iterate_outputs`.
        view (int, optional): See :func:`iterate_outputs`.

    Returns:
        tuple: Rows (N, D), float32, and the classes of the images (N,).

    Raises:
        ValueError: If an image has no label.
    """
    rows, labels = [], []
    batches = track_iter_progress((loader, len(loader)))
    for part, samples in iterate_outputs(model, batches, output, view):
        rows.append(part.numpy())
        for sample in samples:
            if 'gt_label' not in sample:
                raise ValueError('the images have no labels, by which this analysis groups them')
            labels.append(int(sample.gt_label))
    print()
    return np.concatenate(rows), np.array(labels)
