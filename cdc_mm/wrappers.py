from mmengine.model import BaseAveragedModel, BaseTTAModel, is_model_wrapper
from torch import nn


def unwrap_model(model: nn.Module) -> nn.Module:
    """The model inside whatever a runner may have put around it.

    Around it may be, also in each other, a wrapper for several processes
    (``DistributedDataParallel``), an average of its weights (``ExponentialMovingAverage``) and
    test-time augmentation (``AverageClsScoreTTA``). All of them call it ``module``; so may a model
    call a part of itself, which is left alone.

    Args:
        model (nn.Module): With or without wrappers.

    Returns:
        nn.Module: The model itself.
    """
    while is_model_wrapper(model) or isinstance(model, (BaseAveragedModel, BaseTTAModel)):
        model = model.module
    return model
