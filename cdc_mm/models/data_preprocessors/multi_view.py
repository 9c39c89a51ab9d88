from typing import Dict, List, Mapping, Optional, Sequence, Union

import torch
from mmpretrain.models import SelfSupDataPreprocessor
from mmpretrain.registry import BATCH_AUGMENTS, MODELS
from torch import Tensor, nn

Steps = Union[Mapping[str, Optional[dict]], Sequence[dict]]


@MODELS.register_module()
class MultiViewDataPreprocessor(SelfSupDataPreprocessor):
    """Makes the views of a whole batch at once, on the device of the model.

    The counterpart of mmpretrain's ``MultiView`` transform, but the steps of a view are batched
    ones that draw their parameters for each sample apart (``Batch<Name>`` and kornia's, as
    ``kornia/<Name>``), which is many times faster than one image at a time in the data workers.
    They see RGB floats in [0, 1], which they may overwrite.
    In evaluation the images are only normalised.

    When the pipeline has made the views already (``MultiView``, say for a random crop that must
    see the full image), its view i is the i-th by name, and goes through that one's steps.

    Args:
        views (dict, optional): The steps of each view by its name, in the order in which they are
            made: a dict of named steps, so that a config which inherits changes one of them by
            name, or a list. A step or a view that is None is left out. Defaults to ``view1`` and
            ``view2`` without steps.
        mean (Sequence[float], optional): Pixel mean by channel, in 0..255.
        std (Sequence[float], optional): Pixel standard deviation by channel, in 0..255.
        to_rgb (bool): Whether images come as BGR. Defaults to False.
        non_blocking (bool): Whether copies to the device may overlap. Defaults to True.
        named (bool): Whether a training batch is a dict of views by name. False gives a list of
            them, which mmpretrain's own models take. Defaults to True.

    Raises:
        ValueError: If no view is left or steps are neither a dict of configs nor a list of them.

    Attributes:
        view_names (tuple[str]): The names of the views.
    """

    def __init__(
        self,
        views: Optional[Mapping[str, Optional[Steps]]] = None,
        mean: Optional[Sequence[float]] = None,
        std: Optional[Sequence[float]] = None,
        to_rgb: bool = False,
        non_blocking: bool = True,
        named: bool = True,
    ) -> None:
        super().__init__(mean=mean, std=std, to_rgb=to_rgb, non_blocking=non_blocking)
        views = dict(view1=(), view2=()) if views is None else views
        kept = {name: steps for name, steps in views.items() if steps is not None}
        if not kept:
            raise ValueError(f'views={dict(views)} has no view: give one name at least its steps')
        self.view_names = tuple(kept)
        self.named = named
        self.augment = nn.ModuleList(
            nn.Sequential(*[BATCH_AUGMENTS.build(step) for step in _steps(name, steps)])
            for name, steps in kept.items()
        )
        # Settings of the augmentation belong to the config, not to the checkpoint.
        for module in self.augment.modules():
            module._non_persistent_buffers_set.update(module._buffers)

    @torch.no_grad()
    def forward(self, data: dict, training: bool = False) -> dict:
        """Move a batch to the device, make the views and normalise them.

        Args:
            data (dict): ``inputs``, uint8 images (B, C, H, W) or a list of such views, and
                ``data_samples``; as ``default_collate`` leaves them. Rows of features (B, D), or a
                dict of them by name, with ``sample_idx`` if there is one, pass as they are.
            training (bool): Whether to make views.

        Returns:
            dict: ``inputs``, normalised float32, in training as a dict of views by name (a list
            if not ``named``), and ``data_samples``, which stay where they are: neither training
            nor prediction needs them on the device, and moving them one by one takes as long as a
            small network.

        Raises:
            ValueError: If the pipeline made another number of views than have names.
        """
        inputs = self.cast_data(data['inputs'])
        if _are_rows(inputs):
            pass
        elif training:
            views = [self._normalize(view) for view in self._augment(inputs)]
            inputs = dict(zip(self.view_names, views)) if self.named else views
        elif isinstance(inputs, Tensor):
            inputs = self._normalize(self._to_float_rgb(inputs))
        else:
            inputs = [self._normalize(self._to_float_rgb(view)) for view in inputs]
        return dict(inputs=inputs, data_samples=data.get('data_samples'))

    def _augment(self, inputs: Union[Tensor, Sequence[Tensor]]) -> List[Tensor]:
        if isinstance(inputs, Tensor):
            image = self._to_float_rgb(inputs)
            # Steps may write into what they are given.
            copies = [image.clone() for _ in self.augment[1:]]
            return [augment(x) for augment, x in zip(self.augment, [image, *copies])]
        if inputs[0].dim() == 3:
            raise ValueError(
                'the images of a batch come as a list: give the dataloader '
                "collate_fn=dict(type='default_collate')"
            )
        if len(inputs) != len(self.augment):
            raise ValueError(
                f'the pipeline made {len(inputs)} views of each image, but data_preprocessor.views '
                f'has {len(self.augment)}: {", ".join(self.view_names)}. Make num_views of '
                'MultiView in the pipeline as many, or name the views that are there.'
            )
        return [augment(self._to_float_rgb(x)) for augment, x in zip(self.augment, inputs)]

    def _to_float_rgb(self, image: Tensor) -> Tensor:
        image = image.flip(1) if self._channel_conversion else image
        return image.float().div_(255)

    def _normalize(self, image: Tensor) -> Tensor:
        if not self._enable_normalize:
            return image
        return image.sub_(self.mean / 255).div_(self.std / 255)


def _steps(name: str, steps: Steps) -> List[dict]:
    """The configs of the steps of a view, in their order."""
    if isinstance(steps, Mapping):
        steps = [step for step in steps.values() if step is not None]
    if not all(isinstance(step, Mapping) for step in steps):
        raise ValueError(
            f'the steps of {name} must be a dict of named configs, such as '
            f"dict(flip=dict(type='kornia/RandomHorizontalFlip')), or a list of configs: {steps}"
        )
    return list(steps)


def _are_rows(inputs: Union[Tensor, Sequence[Tensor], Dict[str, Tensor]]) -> bool:
    if isinstance(inputs, Mapping):
        views = [x for name, x in inputs.items() if name != 'sample_idx']
        if not all(x.dim() == 2 for x in views):
            raise ValueError(
                'only rows of features (B, D) may come by name, got shapes '
                f'{[tuple(x.shape) for x in views]}'
            )
        return True
    return isinstance(inputs, Tensor) and inputs.dim() == 2
