"""Augmentations of a batch, each image by parameters of its own.

Images are floating point RGB in [0, 1], (B, C, H, W) in any memory format. What the functions
compute is defined by torchvision's functions of one image, and tests compare the two. Parameters
lie on the host, where it is known without a wait which images an operation concerns. A function
whose name ends in an underscore changes the images that it is given, and returns them.
"""

from typing import Iterator, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from . import photographs
from .photographs import GREY

# Images that are changed at once on a CPU: these bytes and what comes of them stay in its cache.
_CACHED_BYTES = 1 << 18
# From this size on OpenCV changes one image after the other faster than torch all at once.
_LARGE = 3 * 64 * 64


def draw_boxes(
    count: int,
    size: Tuple[int, int],
    scale: Tuple[float, float],
    ratio: Tuple[float, float],
) -> Tensor:
    """Draw the boxes of random resized crops, as torchvision's ``RandomResizedCrop`` does.

    The share of the image's area is uniform, the logarithm of width over height too; a box that
    does not fit is drawn again, ten times at most, after which the largest one in the middle whose
    ratio is allowed is taken.

    Args:
        count (int): Number of boxes B.
        size (tuple[int]): Height and width of the images.
        scale (tuple[float]): Least and largest share of the area.
        ratio (tuple[float]): Least and largest width over height.

    Returns:
        Tensor: Shape (B, 4), whole numbers: top, left, height and width of each.
    """
    height, width = size
    area = torch.empty(count, 10).uniform_(*scale) * height * width
    low, high = torch.tensor(ratio).log().tolist()
    shape = torch.empty(count, 10).uniform_(low, high).exp_()
    w, h = (area * shape).sqrt_().round_(), (area / shape).sqrt_().round_()
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.byte().argmax(dim=1, keepdim=True)
    w, h = w.gather(1, first)[:, 0], h.gather(1, first)[:, 0]
    # The product may be rounded up to a whole number.
    top = ((height - h + 1) * torch.rand(count)).floor_().minimum(height - h)
    left = ((width - w + 1) * torch.rand(count)).floor_().minimum(width - w)
    boxes = torch.stack([top, left, h, w], dim=1)
    if width / height < ratio[0]:
        rest = width, round(width / ratio[0])
    elif width / height > ratio[1]:
        rest = round(height * ratio[1]), height
    else:
        rest = width, height
    middle = ((height - rest[1]) // 2, (width - rest[0]) // 2, rest[1], rest[0])
    return torch.where(fits.any(dim=1, keepdim=True), boxes, torch.tensor(middle).float())


def resized_crop(images: Tensor, boxes: Tensor, size: Tuple[int, int]) -> Tensor:
    """Cut a box out of each image and resize it, bilinearly and with antialiasing.

    The same as Pillow's crop and resize, but for rounding to 8 bits: resizing is linear and apart
    for rows and columns, so it is two products with matrices, which suit every device. Their cost
    grows with the third power of the side; they win up to about 100 pixels.

    Args:
        images (Tensor): Shape (B, C, H, W).
        boxes (Tensor): Top, left, height and width of each, shape (B, 4), in pixels, inside.
        size (tuple[int]): Height and width of what is returned.

    Returns:
        Tensor: Shape (B, C, *size).
    """
    boxes = boxes.to(images.device, images.dtype, non_blocking=True)
    top, left, height, width = boxes.unbind(dim=1)
    rows = _resize_weights(top, height, images.shape[2], size[0])
    columns = _resize_weights(left, width, images.shape[3], size[1])
    wide = torch.bmm(images.flatten(1, 2), columns.transpose(1, 2))
    return torch.matmul(rows[:, None], wide.unflatten(1, images.shape[1:3]))


def _resize_weights(start: Tensor, length: Tensor, size: int, out: int) -> Tensor:
    """Weights (B, out, size) of the pixels of a line, by Pillow's triangular filter."""
    start, length = start[:, None, None], length[:, None, None]
    scale = length / out
    pixels = torch.arange(size, device=start.device) + 0.5
    centers = torch.arange(out, device=start.device)[:, None] + 0.5
    distance = (pixels - torch.addcmul(start, centers, scale)).abs_()
    weights = distance.div_(scale.clamp(min=1)).neg_().add_(1).clamp_(min=0)
    weights *= (pixels > start) & (pixels < start + length)
    return weights / weights.sum(dim=2, keepdim=True)


def flip_(images: Tensor, index: Tensor) -> Tensor:
    """Mirror some images left to right.

    Args:
        images (Tensor): Shape (B, C, H, W).
        index (Tensor): Numbers of those to mirror (n,).

    Returns:
        Tensor: The images.
    """
    index = index.to(images.device, non_blocking=True)
    return images.index_copy_(0, index, images.index_select(0, index).flip(-1))


def to_grey(images: Tensor) -> Tensor:
    """Luminance (B, H, W) of images (B, 3, H, W), by ITU-R 601-2."""
    red, green, blue = images.unbind(dim=1)
    return (red * GREY[0]).add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2])


def grayscale_(images: Tensor, index: Tensor) -> Tensor:
    """Take the colours from some images.

    Args:
        images (Tensor): Shape (B, 3, H, W).
        index (Tensor): Numbers of those that become grey (n,).

    Returns:
        Tensor: The images, of equal channels there.
    """
    index = index.to(images.device, non_blocking=True)
    chosen = images.index_select(0, index)
    return images.index_copy_(0, index, to_grey(chosen)[:, None].expand_as(chosen))


def solarize_(images: Tensor, index: Tensor, threshold: Tensor) -> Tensor:
    """Invert the pixels of some images that are at or above a threshold.

    Args:
        images (Tensor): Shape (B, C, H, W).
        index (Tensor): Numbers of those images (n,).
        threshold (Tensor): Of each of them (n,).

    Returns:
        Tensor: The images.
    """
    index = index.to(images.device, non_blocking=True)
    threshold = threshold.to(images.device, images.dtype, non_blocking=True)[:, None, None, None]
    chosen = images.index_select(0, index)
    return images.index_copy_(0, index, torch.where(chosen >= threshold, 1 - chosen, chosen))


def color_jitter_(images: Tensor, index: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """Change brightness, contrast, saturation and hue of some images, of each in its own order.

    The first three are one formula: a x + b grey(x) + c mean(grey(x)), within [0, 1]. So images
    differ only in where the hue comes among them, and four groups do for 24 orders.

    Args:
        images (Tensor): Shape (B, 3, H, W).
        index (Tensor): Numbers of the images to change (n,).
        factors (Tensor): Shape (n, 4): factors of brightness, contrast and saturation, 1 for no
            change, and the turn of the hue in [-0.5, 0.5], 0 for none.
        order (Tensor): Permutations of 0..3 (n, 4): which of the four comes first, second, ...

    Returns:
        Tensor: The images.
    """
    places = (order == 3).byte().argmax(dim=1)
    linear = order[order != 3].view(-1, 3)
    # What the three that are linear multiply: the image, its luminance, the mean of that.
    factor = factors.gather(1, linear)
    rest = 1 - factor
    terms = torch.stack([factor, rest * (linear == 2), rest * (linear == 1)], dim=2)
    if _one_by_one(images):
        turns = factors[:, 3].tolist()
        for i, number in enumerate(index.tolist()):
            photographs.color_jitter_(images[number], terms[i].tolist(), int(places[i]), turns[i])
        return images
    for place in range(4):
        for part in _blocks((places == place).nonzero()[:, 0], images):
            here = index[part].to(images.device, non_blocking=True)
            chosen = images.index_select(0, here)
            weights = terms[part].to(images.device, images.dtype, non_blocking=True)
            turn = factors[part, 3].to(images.device, images.dtype, non_blocking=True)
            for step in range(4):
                if step == place:
                    chosen = _turn_hue(chosen, turn)
                else:
                    chosen = _blend(chosen, weights[:, step - (step > place)])
            images.index_copy_(0, here, chosen)
    return images


def _blend(images: Tensor, weights: Tensor) -> Tensor:
    """In place: the weighted sum of images, their luminance and its mean, weights (B, 3)."""
    image, grey, mean = weights[:, :, None, None].unbind(dim=1)
    luminance = to_grey(images)
    level = luminance.mean(dim=(1, 2), keepdim=True)
    luminance.mul_(grey).add_(level.mul_(mean))
    return images.mul_(image[:, None]).add_(luminance[:, None]).clamp_(0, 1)


def _turn_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue by shares of a circle (B,), in the hexagonal model of HSV."""
    red, green, blue = images.unbind(dim=1)
    top = torch.maximum(torch.maximum(red, green), blue)
    chroma = top - torch.minimum(torch.minimum(red, green), blue)
    unit = (chroma * 6).clamp_(min=1e-12).reciprocal_()
    # Where red or green is the top: comparisons and `where` take ten times as long on a CPU.
    at_red, at_green = ((x - top).mul_(1e30).add_(1).clamp_(min=0) for x in (red, green))
    hue = torch.lerp(
        (red - green).mul_(unit).add_(2 / 3), (blue - red).mul_(unit).add_(1 / 3), at_green
    )
    hue.lerp_((green - blue).mul_(unit), at_red)
    hue.add_(turn[:, None, None])
    # A channel falls from the top by the distance of the hue from its own, on a circle of length 1:
    # not within 1/6, by all of the chroma from 1/3 on.
    out = torch.empty_like(images)
    for channel in range(3):
        apart = hue - channel / 3
        apart.sub_(apart.round()).abs_()
        fall = apart.mul_(6).sub_(1).clamp_(0, 1)
        torch.addcmul(top, fall, chroma, value=-1, out=out[:, channel])
    return out


def gaussian_blur_(images: Tensor, index: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """Blur some images, each by its own sigma, reflecting at the borders.

    Args:
        images (Tensor): Shape (B, C, H, W).
        index (Tensor): Numbers of those images (n,).
        sigma (Tensor): Of each of them, in pixels (n,).
        kernel_size (int): Odd; at most twice the shorter side less one.

    Returns:
        Tensor: The images.
    """
    # All pixels beyond five sigma together weigh 6e-7.
    radii = (5 * sigma).int().add_(1).clamp_(max=kernel_size // 2)
    if _one_by_one(images):
        for number, width, radius in zip(index.tolist(), sigma.tolist(), radii.tolist()):
            photographs.gaussian_blur_(images[number], width, 2 * radius + 1)
        return images
    radius = int(radii.max())
    taps = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-0.5 * (taps / sigma[:, None]).square())
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    height, width = images.shape[2:]
    index = index.to(images.device, non_blocking=True)
    weights = kernel.to(images.device, images.dtype, non_blocking=True)
    weights = weights.repeat_interleave(images.shape[1], dim=0)
    padded = F.pad(images.index_select(0, index), [radius] * 4, mode='reflect')
    wide = F.conv2d(padded.flatten(0, 1)[None], weights[:, None, None, :], groups=len(weights))
    blurred = F.conv2d(wide, weights[:, None, :, None], groups=len(weights))
    return images.index_copy_(0, index, blurred.view(len(index), -1, height, width))


def _one_by_one(images: Tensor) -> bool:
    """Whether OpenCV is to change one image after the other."""
    return (
        images.device.type == 'cpu'
        and images.dtype == torch.float32
        and images[0].numel() >= _LARGE
    )


def _blocks(numbers: Tensor, images: Tensor) -> Iterator[Tensor]:
    """On a CPU groups of numbers whose images fit its cache, else all numbers at once."""
    if len(numbers) == 0:
        return iter(())
    if images.device.type != 'cpu':
        return iter((numbers,))
    return iter(numbers.split(max(1, _CACHED_BYTES // images[0].nbytes)))
