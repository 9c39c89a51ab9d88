"""What the registered steps draw, against transforms of one image by torchvision and mmpretrain."""

import numpy as np
import pytest
import torch
from mmpretrain.registry import BATCH_AUGMENTS, TRANSFORMS
from scipy.stats import ks_2samp, kstest
from torchvision.transforms import ColorJitter, GaussianBlur, RandomResizedCrop

from cdc_mm.models.augments.functional import draw_boxes, to_grey

COUNT = 1500


def build(name, **kwargs):
    return BATCH_AUGMENTS.build(dict(type=name, **kwargs))


@pytest.mark.parametrize(
    ('size', 'scale'), [((32, 32), (0.08, 1.0)), ((256, 384), (0.2, 1.0)), ((32, 200), (0.9, 1.0))]
)
def test_boxes_have_the_distribution_of_torchvision_and_mmpretrain(size, scale):
    ratio = (3 / 4, 4 / 3)
    torch.manual_seed(0)
    np.random.seed(0)
    ours = draw_boxes(COUNT, size, scale, ratio).numpy()
    assert (ours[:, :2] >= 0).all() and (ours[:, :2] + ours[:, 2:] <= size).all()
    image = torch.empty(3, *size)
    crop = TRANSFORMS.build(
        dict(type='RandomResizedCrop', scale=32, crop_ratio_range=scale, aspect_ratio_range=ratio)
    )
    pixels = np.empty((*size, 3), np.uint8)
    host = []
    for _ in range(COUNT):
        top, left, height, width = crop.rand_crop_params(pixels)
        host.append((top, left, height, width))
    stock = [RandomResizedCrop.get_params(image, scale, ratio) for _ in range(COUNT)]
    for reference in (np.array(stock), np.array(host)):
        for column in range(4):
            assert ks_2samp(ours[:, column], reference[:, column]).pvalue > 1e-3, column
        areas, expected = (x[:, 2] * x[:, 3] for x in (ours, reference))
        assert ks_2samp(areas, expected).pvalue > 1e-3


def test_jitter_draws_factors_orders_and_images_as_torchvision():
    step = build('BatchColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, p=0.8)
    torch.manual_seed(0)
    # Brightness alone multiplies, if nothing is cut off: factors can be read off a dark image.
    dark = build('BatchColorJitter', brightness=0.4, p=0.8)(torch.full((COUNT, 3, 2, 2), 0.5))
    factors = dark[:, 0, 0, 0] / 0.5
    changed = factors != 1
    assert abs(changed.float().mean() - 0.8) < 0.05
    assert kstest(factors[changed].numpy(), 'uniform', (0.6, 0.8)).pvalue > 1e-3
    # All four: what comes of one image, in the mean of each channel.
    image = torch.rand(3, 6, 6)
    made = step(image.repeat(COUNT, 1, 1, 1)).mean(dim=(2, 3))
    same = (made == image.mean(dim=(1, 2))).all(dim=1)
    jitter = ColorJitter(0.4, 0.4, 0.2, 0.1)
    stock = torch.stack([jitter(image).mean(dim=(1, 2)) for _ in range(COUNT)])
    assert abs(same.float().mean() - 0.2) < 0.05
    for channel in range(3):
        assert ks_2samp(made[~same, channel], stock[:, channel]).pvalue > 1e-3


def test_jitter_takes_another_order_for_each_image():
    """Brightness cuts off what contrast then cannot bring back, or the other way round."""
    seen = {}
    step = build('BatchColorJitter', brightness=1, contrast=1, saturation=1, hue=0.5)

    def keep(images, index, factors, order):
        seen.update(factors=factors, order=order)
        return images

    module = __import__(type(step).__module__, fromlist=['color_jitter_'])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, 'color_jitter_', keep)
        step(torch.empty(COUNT, 3, 1, 1))
    assert len({tuple(order) for order in seen['order'].tolist()}) == 24
    assert seen['factors'][:, :3].min() >= 0 and seen['factors'][:, :3].max() > 1.9
    assert kstest(seen['factors'][:, 3].numpy(), 'uniform', (-0.5, 1)).pvalue > 1e-3


@pytest.mark.parametrize(
    ('name', 'p', 'change'),
    [
        ('BatchRandomHorizontalFlip', 0.5, lambda x: x.flip(-1)),
        ('BatchRandomGrayscale', 0.2, lambda x: to_grey(x)[:, None].expand_as(x)),
        ('BatchRandomSolarize', 0.2, lambda x: torch.where(x >= 0.5, 1 - x, x)),
    ],
)
def test_some_images_are_changed_and_the_others_kept(name, p, change):
    torch.manual_seed(0)
    x = torch.rand(COUNT, 3, 3, 4)
    made = build(name, p=p)(x.clone())
    changed = (made != x).flatten(1).any(dim=1)
    assert abs(changed.float().mean() - p) < 0.05
    torch.testing.assert_close(made[changed], change(x[changed]))


def test_blur_draws_sigma_for_each_image():
    torch.manual_seed(0)
    x = torch.zeros(COUNT, 1, 9, 9)
    x[:, :, 4, 4] = 1
    made = build('BatchGaussianBlur', kernel_size=5, sigma=(0.5, 2.0), p=0.5)(x.clone())[:, 0, 4, 4]
    changed = made != 1
    assert abs(changed.float().mean() - 0.5) < 0.05
    blur = GaussianBlur(5, (0.5, 2.0))
    stock = torch.stack([blur(x[0])[0, 4, 4] for _ in range(COUNT)])
    assert ks_2samp(made[changed], stock).pvalue > 1e-3


def test_no_step_for_any_image_or_for_all():
    x = torch.rand(4, 3, 8, 8)
    assert torch.equal(build('BatchGaussianBlur', kernel_size=3, p=0.0)(x), x)
    assert torch.equal(build('BatchRandomHorizontalFlip', p=1.0)(x.clone()), x.flip(-1))
    assert build('BatchRandomResizedCrop', size=5)(x).shape == (4, 3, 5, 5)


@pytest.mark.parametrize(
    ('name', 'kwargs', 'message'),
    [
        ('BatchRandomGrayscale', dict(p=1.5), r'BatchRandomGrayscale: p must be in \[0, 1\]'),
        ('BatchGaussianBlur', dict(kernel_size=4), 'kernel_size must be odd, got 4'),
        ('BatchGaussianBlur', dict(sigma=(0, 1)), 'sigma must be two numbers between 0.001'),
        ('BatchRandomResizedCrop', dict(size=8, scale=(1, 0.5)), 'scale must be two numbers'),
        ('BatchColorJitter', dict(hue=0.6), r'hue in \[0, 0.5\], got'),
    ],
)
def test_refuses_what_is_out_of_range(name, kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(name, **kwargs)
