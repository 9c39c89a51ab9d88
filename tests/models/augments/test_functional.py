"""Each function against torchvision's function of one image, for the same parameters."""

import pytest
import torch
import torchvision.transforms.functional as tv

from cdc_mm.models.augments import functional as F

LAYOUTS = (torch.contiguous_format, torch.channels_last)


def images(count=12, height=32, width=32):
    return torch.rand(count, 3, height, width, generator=torch.manual_seed(1))


def apply_each(x, index, function):
    """``function(image, i)`` in place of the images of an index, one after the other."""
    expected = x.clone()
    for i, number in enumerate(index.tolist()):
        expected[number] = function(x[number], i)
    return expected


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize(('height', 'width', 'size'), [(32, 32, (32, 32)), (40, 56, (16, 24))])
def test_resized_crop_is_torchvisions_with_antialiasing(height, width, size, layout):
    x = images(8, height, width).to(memory_format=layout)
    torch.manual_seed(0)
    boxes = F.draw_boxes(8, (height, width), (0.08, 1.0), (3 / 4, 4 / 3))
    boxes[0] = torch.tensor([0, 0, height, width])
    boxes[1] = torch.tensor([height - 1, width - 1, 1, 1])
    made = F.resized_crop(x, boxes, size)
    for image, box, crop in zip(x, boxes.long().tolist(), made, strict=True):
        expected = tv.resized_crop(image, *box, list(size), antialias=True)
        torch.testing.assert_close(crop, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('size', [8, 300])  # many images in a block, and one
def test_color_jitter_is_torchvisions_in_each_order(size, layout):
    count = 30 if size == 8 else 5
    x = images(count, size, size).to(memory_format=layout)
    x[0, :, :2] = 0.5  # grey, black and white have no hue
    x[0, :, 2:4] = 0
    x[0, :, 4:6] = 1
    index = torch.cat([torch.arange(0, count, 2), torch.tensor([1])])
    low, high = torch.tensor([0.2, 0.2, 0.2, -0.5]), torch.tensor([1.8, 1.8, 1.8, 0.5])
    factors = torch.lerp(low, high, torch.rand(len(index), 4))
    order = torch.rand(len(index), 4).argsort(dim=1)
    order[0] = torch.tensor([3, 2, 1, 0])
    names = ('brightness', 'contrast', 'saturation', 'hue')

    def jitter(image, i):
        for k in order[i].tolist():
            image = getattr(tv, f'adjust_{names[k]}')(image, float(factors[i, k]))
        return image

    expected = apply_each(x, index, jitter)
    made = F.color_jitter_(x, index, factors, order)
    assert made is x and x.is_contiguous(memory_format=layout)
    torch.testing.assert_close(made, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('height', [24, 700])  # for all images at once, and one by one
def test_gaussian_blur_is_torchvisions(layout, height):
    x = images(9, height, 33).to(memory_format=layout)
    index, sigma = torch.tensor([8, 0, 3, 4]), torch.tensor([0.1, 0.7, 2.0, 2.5])
    expected = apply_each(
        x, index, lambda image, i: tv.gaussian_blur(image, [23, 23], [float(sigma[i])] * 2)
    )
    made = F.gaussian_blur_(x, index, sigma, 23)
    assert made is x and x.is_contiguous(memory_format=layout)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-5)


def test_flip_grayscale_and_solarize_are_torchvisions():
    x = images(6)
    index = torch.tensor([4, 1])
    for change, each, atol in (
        (F.flip_, lambda image, i: tv.hflip(image), 0),
        (F.grayscale_, lambda image, i: tv.rgb_to_grayscale(image, 3), 1e-6),
    ):
        expected = apply_each(x, index, each)
        given = x.clone()
        assert change(given, index) is given
        torch.testing.assert_close(given, expected, rtol=0, atol=atol)
    threshold = torch.tensor([0.5, 0.2])
    expected = apply_each(x, index, lambda image, i: tv.solarize(image, float(threshold[i])))
    assert torch.equal(F.solarize_(x.clone(), index, threshold), expected)
