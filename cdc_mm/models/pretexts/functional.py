"""What the pretexts minimise, as plain functions."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..utils import as_float


def reconstruction_error(output: Tensor, images: Tensor) -> Tensor:
    """Half the squared error of an image, summed over its values, the mean over the batch.

    Minus the log-likelihood of a Gaussian of unit variance, without its constant.

    Args:
        output (Tensor): Shape (B, ...).
        images (Tensor): The same shape.

    Returns:
        Tensor: Scalar, at least 0.
    """
    return 0.5 * (as_float(output) - as_float(images)).square().flatten(1).sum(dim=1).mean()


def gaussian_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of a diagonal Gaussian from the standard one (Kingma & Welling, appendix B).

    Args:
        mean (Tensor): Shape (B, L).
        log_variance (Tensor): Shape (B, L).

    Returns:
        Tensor: Scalar, at least 0: the sum over the L latents, the mean over the batch.
    """
    mean, log_variance = as_float(mean), as_float(log_variance)
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean()


def mask_pixels(images: Tensor, share: float) -> Tensor:
    """Set each pixel to 0, in all its channels, with probability ``share`` ("masking noise").

    Args:
        images (Tensor): Shape (B, C, H, W), not changed.
        share (float): In [0, 1].

    Returns:
        Tensor: Shape (B, C, H, W).
    """
    return images * (torch.rand_like(images[:, :1]) >= share)


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G(z))), the mean over the batch (Goodfellow et al., algorithm 1).

    Args:
        real (Tensor): Logits of images, shape (B,) or (B, 1).
        fake (Tensor): Logits of generated images, the same shape.

    Returns:
        Tensor: Scalar. 2 ln 2 where the discriminator cannot tell them apart.
    """
    return F.softplus(-as_float(real)).mean() + F.softplus(as_float(fake)).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """-log D(G(z)), the mean over the batch: the form that saturates less (the same, section 3).

    Args:
        fake (Tensor): Logits of generated images, shape (B,) or (B, 1).

    Returns:
        Tensor: Scalar. ln 2 where the discriminator cannot tell them from images.
    """
    return F.softplus(-as_float(fake)).mean()


def relative_comparisons(anchor: Tensor, near: Tensor, margin: float = 1.0) -> Tensor:
    """Hinge of "anchor i is closer to near i than to near j", over all j other than i.

    The slack of Schultz & Joachims' constraints d(i, j) - d(i, i') >= 1, d the squared distance.

    Args:
        anchor (Tensor): Shape (B, D), B at least 2.
        near (Tensor): Row i is what anchor i is closer to, shape (B, D).
        margin (float): By how much. Defaults to 1, the paper's.

    Returns:
        Tensor: Scalar, at least 0: the mean over the B (B - 1) comparisons.
    """
    anchor, near = as_float(anchor), as_float(near)
    # Multiplied out: the differences of all pairs would be (B, B, D).
    squares = anchor.square().sum(dim=1)[:, None] + near.square().sum(dim=1)
    distances = squares - 2 * anchor @ near.T
    own = (anchor - near).square().sum(dim=1, keepdim=True)
    others = ~torch.eye(len(anchor), dtype=torch.bool, device=anchor.device)
    return F.relu(margin + own - distances)[others].mean()
