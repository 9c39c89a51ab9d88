"""Registers kornia's batched augmentations into BATCH_AUGMENTS as ``kornia/<Name>``."""

import inspect

import kornia.augmentation
from mmpretrain.registry import BATCH_AUGMENTS

for _name, _cls in vars(kornia.augmentation).items():
    if inspect.isclass(_cls) and issubclass(_cls, kornia.augmentation.AugmentationBase2D):
        BATCH_AUGMENTS.register_module(name=f'kornia/{_name}', module=_cls)
