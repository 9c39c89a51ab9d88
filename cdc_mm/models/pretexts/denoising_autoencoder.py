from mmpretrain.registry import MODELS
from torch import Tensor

from .autoencoder import AutoEncoder
from .functional import mask_pixels


@MODELS.register_module()
class DenoisingAutoEncoder(AutoEncoder):
    """Gives a whole image back from one with holes: row "DAE" of Table 1.

    `Stacked Denoising Autoencoders
    <https://jmlr.org/papers/v11/vincent10a.html>`_ with its masking noise. Chosen here, where the
    CDC paper says nothing: a quarter of the pixels is masked, one of the values tried there, with
    the mean of the training images; all layers are trained at once, not one after the other.

    Args:
        mask_share (float): Share of the pixels that are masked, in [0, 1). Defaults to 0.25.
        **kwargs: See :class:`AutoEncoder`.

    Raises:
        ValueError: If ``mask_share`` is out of range.
    """

    def __init__(self, mask_share: float = 0.25, **kwargs) -> None:
        if not 0 <= mask_share < 1:
            raise ValueError(f'mask_share must be at least 0 and below 1, got {mask_share}')
        super().__init__(**kwargs)
        self.mask_share = mask_share

    def corrupt(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) with masked pixels; 0 is the mean of standardised ones."""
        return mask_pixels(images, self.mask_share)
