from typing import Dict, Optional

import torch
import torchvision
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from cdc_mm.checkpoints import read_backbone

from .base import BaseEncoder
from .pooling import pool_features

# Where torchvision's classifiers sit.
_CLASSIFIERS = ('fc', 'classifier', 'heads', 'head')
# Those of Inception and GoogLeNet, whose output in training would be theirs.
_AUXILIARY = ('AuxLogits', 'aux1', 'aux2')


@MODELS.register_module()
class TorchvisionEncoder(BaseEncoder):
    """Any classification model of torchvision without its classifier.

    Args:
        name (str): Its name (``resnet50``, ``vit_b_16``, ``efficientnet_b0``).
        weights (str, optional): A local file of torchvision's, the classifier in it ignored, or
            ``DEFAULT`` or another name of torchvision's own, which are downloaded to its cache.
        freeze (bool): Whether to freeze it. Defaults to False.

    Raises:
        ValueError: If torchvision does not know the name or the weights.
    """

    def __init__(self, name: str, weights: Optional[str] = None, freeze: bool = False) -> None:
        try:
            known = torchvision.models.get_model_weights(name)
        except ValueError as error:
            near = torchvision.models.list_models(torchvision.models, include=f'*{name[:6]}*')[:5]
            raise ValueError(
                f'torchvision has no model {name}' + (f'; it has {", ".join(near)}' * bool(near))
            ) from error
        own = known[weights] if weights in known.__members__ else None
        if own is None and weights == 'DEFAULT':
            own = known.DEFAULT
        model = torchvision.models.get_model(name, weights=own)
        transforms = (own or known.DEFAULT).transforms()
        for classifier in _CLASSIFIERS:
            if hasattr(model, classifier):
                setattr(model, classifier, nn.Identity())
        for classifier in _AUXILIARY:
            if hasattr(model, classifier):
                setattr(model, classifier, None)
                model.aux_logits = False
        super().__init__(
            model,
            freeze,
            None if own is not None else weights,
            mean=[255 * value for value in transforms.mean],
            std=[255 * value for value in transforms.std],
            input_size=transforms.crop_size[0],
        )

    @property
    def feat_dim(self) -> int:
        """D, the width of a row, by a trial run."""
        training = self.backbone.training
        self.backbone.eval()
        with torch.no_grad():
            parameter = next(self.backbone.parameters())
            rows = self.extract(parameter.new_zeros(1, 3, self.input_size, self.input_size))
        self.backbone.train(training)
        return rows.shape[1]

    def extract(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) to rows (B, D)."""
        return pool_features(self.backbone(images))

    def init_weights(self) -> None:
        """Fill the network from ``weights``; torchvision has initialised or filled it otherwise."""
        if self.weights is not None:
            self.load_weights(self.weights)
        self._is_init = True

    def read_weights(self, filename: str) -> Dict[str, Tensor]:
        """The weights of a file of torchvision's or of this project, without the classifiers'."""
        classifiers = tuple(f'{classifier}.' for classifier in (*_CLASSIFIERS, *_AUXILIARY))
        state = read_backbone(filename, backbone=self.backbone)
        return {k: v for k, v in state.items() if not k.startswith(classifiers)}
