from typing import Dict, List, Optional, Union

from mmpretrain.models import BaseSelfSupervisor
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.func import functional_call

from ..encoders import pool_features
from .functional import discriminator_loss, generator_loss


@MODELS.register_module()
class DCGAN(BaseSelfSupervisor):
    """Tells images from generated ones; rows are the discriminator's: row "GAN" of Table 1.

    `Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks
    <https://arxiv.org/abs/1511.06434>`_. Chosen here, where the CDC paper says nothing: the body of
    the discriminator is the backbone that all methods have, and its pooled output the features,
    where the paper pools all layers of its own network. Both parts take their step at once, with
    one optimiser: the generator's is by the discriminator before its step, not after it.

    Args:
        backbone (dict): Config of the discriminator's body.
        generator (dict): Config of a :class:`ConvDecoder`, whose ``in_channels`` says how many
            uniform values in [-1, 1] it is given.
        feat_dim (int): D, the width of the discriminator's rows.
        data_preprocessor (dict, optional): Config of a preprocessor that gives a list of views, of
            which the first is used.
    """

    def __init__(
        self,
        backbone: dict,
        generator: dict,
        feat_dim: int,
        data_preprocessor: Optional[Union[dict, nn.Module]] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(backbone, data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.generator = MODELS.build(generator)
        self.classifier = nn.Linear(feat_dim, 1)

    def generate(self, count: int) -> Tensor:
        """``count`` images, (count, C, H, W)."""
        noise = self.classifier.weight.new_empty(count, self.generator.in_channels)
        return self.generator(noise.uniform_(-1, 1))

    def loss(
        self, inputs: List[Tensor], data_samples: Optional[List[DataSample]] = None
    ) -> Dict[str, Tensor]:
        """The losses of both parts, each of which reaches the weights of its own part only.

        Args:
            inputs (list): Views of the images, (B, C, H, W); the first is used.
            data_samples (list, optional): Not looked at.

        Returns:
            dict: ``loss_discriminator`` and ``loss_generator``.
        """
        images = inputs[0]
        fake = self.generate(len(images))
        logits = self._logits(fake.detach())
        real = self.classifier(pool_features(self.backbone(images)))
        return dict(
            loss_discriminator=discriminator_loss(real, logits),
            loss_generator=generator_loss(self._logits(fake, fixed=True)),
        )

    def _logits(self, images: Tensor, fixed: bool = False) -> Tensor:
        """Logits (B, 1) of generated images, by statistics of their batch, which are not kept.

        Features are taken of images, whose statistics alone shall be the batch norm's. ``fixed``
        leaves the discriminator's weights without gradient.
        """
        backbone = {name: value.clone() for name, value in self.backbone.named_buffers()}
        classifier = {}
        if fixed:
            for values, module in ((backbone, self.backbone), (classifier, self.classifier)):
                values.update((n, value.detach()) for n, value in module.named_parameters())
        rows = pool_features(functional_call(self.backbone, backbone, (images,)))
        return functional_call(self.classifier, classifier, (rows,))
