from typing import Dict, List, Optional, Union

from mmpretrain.models import BaseSelfSupervisor
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from ..encoders import pool_features
from .functional import reconstruction_error


@MODELS.register_module()
class AutoEncoder(BaseSelfSupervisor):
    """Gives an image back from its row of features: row "AE" of Table 1, and the base of others.

    The row is the bottleneck, so it is the code, and what k-means is given.

    After `Greedy Layer-Wise Training of Deep Networks
    <https://papers.nips.cc/paper/3048-greedy-layer-wise-training-of-deep-networks>`_. Chosen here,
    where the CDC paper says nothing: all layers are trained at once, as is done since, with the
    squared error of standardised pixels, on images that are not augmented.

    Args:
        backbone (dict): Config of the encoder.
        decoder (dict): Config of a :class:`ConvDecoder` that takes rows of the encoder's width.
        data_preprocessor (dict, optional): Config of a preprocessor that gives a list of views, of
            which the first is used.
    """

    def __init__(
        self,
        backbone: dict,
        decoder: dict,
        data_preprocessor: Optional[Union[dict, nn.Module]] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(backbone, data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.decoder = MODELS.build(decoder)

    def corrupt(self, images: Tensor) -> Tensor:
        """What the encoder is given for images (B, C, H, W), of the same shape."""
        return images

    def loss(
        self, inputs: List[Tensor], data_samples: Optional[List[DataSample]] = None
    ) -> Dict[str, Tensor]:
        """The error of what comes back.

        Args:
            inputs (list): Views of the images, (B, C, H, W); the first is used.
            data_samples (list, optional): Not looked at.

        Returns:
            dict: ``loss``, see :func:`reconstruction_error`.
        """
        images = inputs[0]
        rows = pool_features(self.backbone(self.corrupt(images)))
        return dict(loss=reconstruction_error(self.decoder(rows), images))
