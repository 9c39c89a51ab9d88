from typing import List, Optional, Sequence, Union

import torch
from mmpretrain.models import SelfSupDataPreprocessor
from mmpretrain.registry import BATCH_AUGMENTS, MODELS
from torch import Tensor, nn


@MODELS.register_module()
class MultiViewDataPreprocessor(SelfSupDataPreprocessor):
    """Makes the views of a whole batch at once, on the device of the model.

    The counterpart of mmpretrain's ``MultiView`` transform: the same arguments, but the transforms
    are batched ones that draw their parameters for each sample apart (kornia's, as
    ``kornia/<Name>``), which is many times faster than one image at a time in the data workers.
    They see RGB floats in [0, 1]. In evaluation the images are only normalised.

    When the pipeline has made the views already (``MultiView``, say for a random crop that must
    see the full image), the transforms of view i apply to view i.

    Args:
        num_views (int | Sequence[int]): How many views each list of transforms makes.
        transforms (Sequence[Sequence[dict]]): The lists of transforms. Empty: views come from the
            pipeline and are only normalised.
        mean (Sequence[float], optional): Pixel mean by channel, in 0..255.
        std (Sequence[float], optional): Pixel standard deviation by channel, in 0..255.
        to_rgb (bool): Whether images come as BGR. Defaults to False.
        non_blocking (bool): Whether copies to the device may overlap. Defaults to True.

    Raises:
        ValueError: If ``num_views`` and ``transforms`` differ in length.
    """

    def __init__(
        self,
        num_views: Union[int, Sequence[int]] = 2,
        transforms: Sequence[Sequence[dict]] = (),
        mean: Optional[Sequence[float]] = None,
        std: Optional[Sequence[float]] = None,
        to_rgb: bool = False,
        non_blocking: bool = True,
    ) -> None:
        super().__init__(mean=mean, std=std, to_rgb=to_rgb, non_blocking=non_blocking)
        num_views = [num_views] if isinstance(num_views, int) else list(num_views)
        if transforms and len(num_views) != len(transforms):
            raise ValueError(
                f'num_views has {len(num_views)} entries and transforms {len(transforms)}: give '
                'one list of transforms for each entry.'
            )
        self.augment = nn.ModuleList()
        for count, pipeline in zip(num_views, transforms):
            view = nn.Sequential(*[BATCH_AUGMENTS.build(step) for step in pipeline])
            self.augment.extend([view] * count)
        # Settings of the augmentation belong to the config, not to the checkpoint.
        for module in self.augment.modules():
            module._non_persistent_buffers_set.update(module._buffers)

    @torch.no_grad()
    def forward(self, data: dict, training: bool = False) -> dict:
        """Move a batch to the device, make the views and normalise them.

        Args:
            data (dict): ``inputs``, uint8 images (B, C, H, W) or a list of such views, and
                ``data_samples``; as ``default_collate`` leaves them.
            training (bool): Whether to make views.

        Returns:
            dict: ``inputs`` (a list of views in training, else as given), normalised float32, and
            ``data_samples``, which stay where they are: neither training nor prediction needs
            them on the device, and moving them one by one takes as long as a small network.
        """
        inputs = self.cast_data(data['inputs'])
        if training and self.augment:
            inputs = self._augment(inputs)
        elif isinstance(inputs, Tensor):
            inputs = self._to_float_rgb(inputs)
        else:
            inputs = [self._to_float_rgb(view) for view in inputs]
        return dict(inputs=self._normalize(inputs), data_samples=data.get('data_samples'))

    def _augment(self, inputs: Union[Tensor, List[Tensor]]) -> List[Tensor]:
        if isinstance(inputs, Tensor):
            image = self._to_float_rgb(inputs)
            return [augment(image) for augment in self.augment]
        if len(inputs) != len(self.augment):
            raise ValueError(
                f'the pipeline made {len(inputs)} views, but there are transforms for '
                f'{len(self.augment)}'
            )
        return [augment(self._to_float_rgb(x)) for augment, x in zip(self.augment, inputs)]

    def _to_float_rgb(self, image: Tensor) -> Tensor:
        image = image.flip(1) if self._channel_conversion else image
        return image.float().div_(255)

    def _normalize(self, image: Union[Tensor, List[Tensor]]) -> Union[Tensor, List[Tensor]]:
        if isinstance(image, list):
            return [self._normalize(view) for view in image]
        if not self._enable_normalize:
            return image
        return (image - self.mean / 255) / (self.std / 255)
