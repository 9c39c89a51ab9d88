import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from cdc_mm.datasets.decoding import decode_image

RNG = np.random.RandomState(0)
# Smooth, so that lossy formats keep it.
PIXELS = cv2.resize(RNG.randint(256, size=(3, 4, 3), dtype=np.uint8), (30, 20))
GREY = PIXELS[..., 0]


def encode(image, suffix, **kwargs):
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    with io.BytesIO() as file:
        image.save(file, suffix, **kwargs)
        return file.getvalue()


def rgb(content):
    image = decode_image(content)
    assert image.dtype == np.uint8 and image.ndim == 3 and image.flags.c_contiguous
    return image[..., ::-1].astype(int)


GREY_RGB = np.repeat(GREY[..., None], 3, axis=2)
OPAQUE = np.dstack([PIXELS, np.full_like(GREY, 255)])
MODES = {
    'jpeg': (encode(PIXELS, 'JPEG', quality=95, subsampling=0), PIXELS, 12),
    'jpeg-grey': (encode(GREY, 'JPEG', quality=95, subsampling=0), GREY_RGB, 12),
    'jpeg-cmyk': (encode(Image.fromarray(PIXELS).convert('CMYK'), 'JPEG', quality=95), PIXELS, 12),
    'mpo': (encode(PIXELS, 'MPO', quality=95, subsampling=0, save_all=True,
                   append_images=[Image.fromarray(PIXELS)]), PIXELS, 12),
    'png': (encode(PIXELS, 'PNG'), PIXELS, 0),
    'png-grey': (encode(GREY, 'PNG'), GREY_RGB, 0),
    'png-16-bit-grey': (encode(GREY.astype(np.uint16) * 257, 'PNG'), GREY_RGB, 0),
    'png-16-bit-rgb': (cv2.imencode('.png', PIXELS[..., ::-1].astype(np.uint16) * 257)[1].tobytes(),
                       PIXELS, 1),
    'png-opaque': (encode(OPAQUE, 'PNG'), PIXELS, 0),
    'png-palette': (encode(Image.fromarray(GREY).convert('P'), 'PNG'), GREY_RGB, 0),
    'tiff-16-bit': (encode(GREY.astype(np.uint16) * 257, 'TIFF'), GREY_RGB, 0),
    'pgm-16-bit': (b'P5 30 20 65535\n' + (GREY.astype('>u2') * 257).astype('>u2').tobytes(),
                   GREY_RGB, 0),
    'webp': (encode(PIXELS, 'WEBP', lossless=True), PIXELS, 0),
    'bmp': (encode(PIXELS, 'BMP'), PIXELS, 0),
    'gif': (encode(Image.fromarray(GREY), 'GIF'), GREY_RGB, 0),
    'one pixel': (encode(PIXELS[:1, :1], 'PNG'), PIXELS[:1, :1], 0),
}  # fmt: skip


@pytest.mark.parametrize('name', MODES)
def test_every_mode_becomes_8_bit_colour(name):
    content, expected, tolerance = MODES[name]
    image = rgb(content)
    assert image.shape == expected.shape
    assert np.abs(image - expected.astype(int)).max() <= tolerance


def test_what_is_transparent_is_white():
    alpha = np.zeros_like(GREY)
    alpha[:, :10] = 255
    alpha[:, 10:20] = 128
    image = rgb(encode(np.dstack([PIXELS, alpha]), 'PNG'))
    assert np.array_equal(image[:, :10], PIXELS[:, :10])
    half = PIXELS[:, 10:20] * (128 / 255) + 255 * (127 / 255)
    assert np.abs(image[:, 10:20] - half).max() <= 1
    assert (image[:, 20:] == 255).all()


@pytest.mark.parametrize('suffix', ['JPEG', 'PNG'])
@pytest.mark.parametrize(('orientation', 'turns'), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_applied(suffix, orientation, turns):
    exif = Image.Exif()
    exif[0x112] = orientation
    kwargs = dict(quality=95, subsampling=0) if suffix == 'JPEG' else {}
    image = rgb(encode(PIXELS, suffix, exif=exif, **kwargs))
    expected = np.rot90(PIXELS, turns).astype(int)
    assert image.shape == expected.shape and np.abs(image - expected).max() <= 12


def test_damaged_exif_does_not_lose_the_image():
    assert rgb(encode(PIXELS, 'PNG', exif=b'Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff')).shape


def png_of_size(width, height):
    def chunk(name, data):
        body = name + data
        return struct.pack('>I', len(data)) + body + struct.pack('>I', zlib.crc32(body))

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', header)
        + chunk(b'IDAT', zlib.compress(b'\0' * 1000))
        + chunk(b'IEND', b'')
    )


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'no image'),
        (b'some text', 'no image'),
        (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', 'no image'),
        (png_of_size(60_000, 60_000), 'decompression bomb'),
        (png_of_size(10_001, 10_000), '10001x10000.*more than the 100 million of max_pixels'),
        (png_of_size(30, 20), '(?i)truncated'),
        (MODES['jpeg'][0][:-20], '(?i)truncated'),
        (MODES['jpeg'][0][: len(MODES['jpeg'][0]) // 2], '(?i)truncated'),
        (MODES['jpeg-cmyk'][0][:-200], '(?i)truncated'),
        (MODES['png'][0][:-100], '(?i)truncated'),
        (MODES['webp'][0][:-50], ''),
        (MODES['gif'][0][:-100], ''),
        (encode(np.random.rand(4, 4).astype(np.float32), 'TIFF'), '32 bits a channel'),
        (encode(np.full((4, 4), 70_000, np.int32), 'TIFF'), '32 bits a channel'),
    ],
)
def test_refuses_what_it_cannot_decode(content, message):
    with pytest.raises(ValueError, match=message):
        decode_image(content)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(sorted(MODES)),
    changes=st.lists(st.tuples(st.integers(0, 4000), st.binary(max_size=6)), max_size=5),
    end=st.integers(0, 4000),
)
@example(name='png', changes=[], end=30)
@example(name='tiff-16-bit', changes=[(4, b'\xff\xff\xff\x7f')], end=4000)
def test_no_content_does_more_than_refuse(name, changes, end):
    content = bytearray(MODES[name][0][:end])
    for position, new in changes:
        position %= len(content) + 1
        content[position : position + len(new)] = new
    try:
        image = decode_image(bytes(content))
    except ValueError as error:
        assert str(error)
    else:
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


def test_the_limit_of_pixels_is_by_config():
    content = encode(PIXELS, 'PNG')
    assert decode_image(content, max_pixels=600).shape == (20, 30, 3)
    with pytest.raises(ValueError, match='30x20'):
        decode_image(content, max_pixels=599)


@pytest.mark.parametrize(
    ('min_side', 'shorter'), [(None, 800), (401, 800), (400, 400), (150, 200), (100, 100), (1, 100)]
)
@pytest.mark.parametrize('orientation', [1, 6])
def test_a_jpeg_is_decoded_as_small_as_it_may_be(min_side, shorter, orientation):
    exif = Image.Exif()
    exif[0x112] = orientation
    content = encode(cv2.resize(PIXELS, (1200, 800)), 'JPEG', exif=exif)
    image = decode_image(content, min_side=min_side)
    expected = (shorter, shorter * 3 // 2)
    assert image.shape[:2] == (expected if orientation == 1 else expected[::-1])
    assert decode_image(encode(PIXELS, 'PNG'), min_side=1).shape == (20, 30, 3)


@pytest.mark.parametrize('size', [(1024, 1536), (3001, 4003)])
def test_what_is_shrunk_anyway_is_the_same_from_a_small_decode(size):
    """Within 2 of 255 in the mean, also where there is noise in every pixel."""
    image = cv2.resize(PIXELS, size[::-1], interpolation=cv2.INTER_CUBIC).astype(int)
    image = (image + RNG.randint(-40, 41, size=image.shape)).clip(0, 255).astype(np.uint8)
    content = encode(image, 'JPEG', quality=95)
    whole, small = (
        np.asarray(Image.fromarray(decode_image(content, min_side=side)).resize((384, 256)), int)
        for side in (None, 512)
    )
    assert np.abs(whole - small).mean() < 2 and np.abs(whole - small).max() < 25
