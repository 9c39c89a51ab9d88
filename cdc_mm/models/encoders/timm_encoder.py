import sys
from typing import Dict, Optional

from mmpretrain.registry import MODELS
from torch import Tensor

from cdc_mm.checkpoints import read_backbone

from .base import BaseEncoder
from .pooling import pool_features


@MODELS.register_module()
class TimmEncoder(BaseEncoder):
    """Any model that timm can build, pooled as that model wants, without its classifier.

    Mean, std and input size are those of the model's own configuration.

    Args:
        name (str): Its name in timm, with or without a tag
            (``vit_small_patch14_dinov2.lvd142m``).
        pretrained (bool): Whether timm gets the weights, from its cache or hub. Defaults to False.
        weights (str, optional): A local file instead: timm's own, or a release of DINO, DINOv2 or
            OpenCLIP (its visual tower), or a checkpoint of this project.
        freeze (bool): Whether to freeze it. Defaults to False.
        mirror (bool): Whether to average the rows of an image and its mirror image, see
            :class:`BaseEncoder`. Defaults to False.
        **kwargs: Further arguments of ``timm.create_model``, such as ``img_size``.

    Raises:
        ModuleNotFoundError: If timm is not installed.
        ValueError: If timm does not know the name, or ``pretrained`` and ``weights`` are both
            given.
    """

    def __init__(
        self,
        name: str,
        pretrained: bool = False,
        weights: Optional[str] = None,
        freeze: bool = False,
        mirror: bool = False,
        **kwargs,
    ) -> None:
        try:
            import timm
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError('TimmEncoder needs timm: pip install timm') from error
        if pretrained and weights is not None:
            raise ValueError(f'give pretrained=True or weights={weights}, not both')
        if not timm.is_model(name):
            near = timm.list_models(f'*{name.split(".")[0][:8]}*')[:5]
            raise ValueError(
                f'timm {timm.__version__} knows no model {name}'
                + (f'; it knows {", ".join(near)}' if near else '')
            )
        model = timm.create_model(name, pretrained=pretrained, num_classes=0, **kwargs)
        data = timm.data.resolve_model_data_config(model)
        mean, std = ([255 * value for value in data[key]] for key in ('mean', 'std'))
        size = kwargs.get('img_size', data['input_size'][-1])
        size = size if isinstance(size, int) else size[-1]
        super().__init__(model, freeze, weights, mean, std, size, mirror)
        self.pretrained = pretrained

    @property
    def feat_dim(self) -> int:
        """D, the width of a row; some models have a wider layer after pooling."""
        return getattr(self.backbone, 'head_hidden_size', None) or self.backbone.num_features

    def extract(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) to rows (B, D)."""
        return pool_features(
            self.backbone(images), getattr(self.backbone, 'num_prefix_tokens', 0) or 0
        )

    def init_weights(self) -> None:
        """Fill the network from ``weights``; timm has initialised or filled it otherwise."""
        if self.weights is not None:
            self.load_weights(self.weights)
        self._is_init = True

    def read_weights(self, filename: str) -> Dict[str, Tensor]:
        """The weights of a file by timm's names, which knows how released files name them."""
        state = read_backbone(filename, backbone=self.backbone)
        module = sys.modules[type(self.backbone).__module__]
        convert = getattr(module, 'checkpoint_filter_fn', None)
        state = state if convert is None else convert(state, self.backbone)
        # Where this model has the classifier that its encoder lacks; some have two.
        names = self.backbone.pretrained_cfg.get('classifier') or ()
        names = (names,) if isinstance(names, str) else names
        classifiers = tuple(f'{name}.' for name in names)
        return {name: value for name, value in state.items() if not name.startswith(classifiers)}
