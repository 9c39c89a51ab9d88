from typing import Dict, List, Optional, Union

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import ModuleList
from mmpretrain.models import BaseSelfSupervisor
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from ..encoders import PoolingConvNet, WhatWhere
from .functional import reconstruction_error


@MODELS.register_module()
class SWWAE(BaseSelfSupervisor):
    """The what-where autoencoder: row "SWWAE" of Table 1.

    Max-pooling passes what it found on, and where straight to the layer of the decoder that undoes
    it. Rows are the "what" of the last layer.

    `Stacked What-Where Auto-encoders <https://arxiv.org/abs/1506.02351>`_ without its supervised
    term (equation 1): the errors of the images and, weighted, of what is between the layers.
    Chosen here, where the CDC paper says nothing: the weight, and the encoder, which must pool.

    Args:
        backbone (dict): Config of a :class:`PoolingConvNet`, which the decoder mirrors.
        middle_weight (float): Weight of the errors between the layers, at least 0. Defaults to 0.2.
        data_preprocessor (dict, optional): Config of a preprocessor that gives a list of views, of
            which the first is used.

    Raises:
        ValueError: If the weight is negative, or the backbone is another.
    """

    def __init__(
        self,
        backbone: dict,
        middle_weight: float = 0.2,
        data_preprocessor: Optional[Union[dict, nn.Module]] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        if middle_weight < 0:
            raise ValueError(f'middle_weight must not be negative, got {middle_weight}')
        super().__init__(backbone, data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        if not isinstance(self.backbone, PoolingConvNet):
            raise ValueError(
                f'SWWAE needs to know where its backbone pools: take a PoolingConvNet, not '
                f'{type(self.backbone).__name__}'
            )
        self.middle_weight = middle_weight
        # From the first layer of the encoder to its last; the first gives pixels.
        self.decoder = ModuleList(
            ConvModule(
                layer.out_channels,
                layer.in_channels,
                3,
                padding=1,
                norm_cfg=dict(type='BN') if i else None,
                act_cfg=dict(type='ReLU') if i else None,
            )
            for i, layer in enumerate(self.backbone.layers)
        )

    def reconstruct(self, found: List[WhatWhere], image_size: int) -> List[Tensor]:
        """What the decoder gives back, from the image to what is below the last layer.

        Args:
            found (list): Of each layer of the encoder.
            image_size (int): Height and width of the images.

        Returns:
            list: As many feature maps as layers: of the images' shape, then of each layer's
            ``what`` but the last's.
        """
        x, given = found[-1].what, []
        for i in reversed(range(len(found))):
            if found[i].where is not None:
                below = image_size if i == 0 else found[i - 1].what.shape[-1]
                x = F.max_unpool2d(
                    x, found[i].where, self.backbone.strides[i], output_size=(below, below)
                )
            x = self.decoder[i](x)
            given.insert(0, x)
        return given

    def loss(
        self, inputs: List[Tensor], data_samples: Optional[List[DataSample]] = None
    ) -> Dict[str, Tensor]:
        """The errors of the images and of what is between the layers.

        Args:
            inputs (list): Views of the images, (B, C, H, H); the first is used.
            data_samples (list, optional): Not looked at.

        Returns:
            dict: ``loss_reconstruction`` and, weighted, ``loss_middle``, the sum over the layers.
        """
        images = inputs[0]
        found = self.backbone.what_where(images)
        given = self.reconstruct(found, images.shape[-1])
        middle = [
            reconstruction_error(output, layer.what) for output, layer in zip(given[1:], found)
        ]
        return dict(
            loss_reconstruction=reconstruction_error(given[0], images),
            loss_middle=self.middle_weight * sum(middle),
        )
