from copy import deepcopy

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from torch import nn

from cdc_mm.checkpoints import (
    check_weights,
    fill_backbone,
    fit_backbone,
    read_backbone,
    read_state_dict,
)


def load_model(cfg: Config, checkpoint: str) -> nn.Module:
    """Build the model of a config, with the weights of a checkpoint, on the GPU if there is one.

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
    model = MODELS.build(deepcopy({'data_preprocessor': cfg.get('data_preprocessor'), **cfg.model}))
    load_weights(model, checkpoint)
    return model.to(get_device()).eval()


def load_weights(model: nn.Module, checkpoint: str) -> None:
    """Load all that prediction uses from a checkpoint.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the checkpoint does not fit.
    """
    weights = read_state_dict(checkpoint)
    check_weights(model, weights, checkpoint, 'test')
    model.load_state_dict(weights, strict=False)


def load_backbone(backbone: nn.Module, checkpoint: str) -> None:
    """Load a backbone from any file that :func:`read_backbone` knows.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it does not fill the backbone.
    """
    weights = fit_backbone(read_backbone(checkpoint, backbone=backbone), backbone)
    fill_backbone(backbone, weights, checkpoint)
