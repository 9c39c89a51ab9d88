import warnings
from contextlib import suppress
from io import BytesIO
from typing import Optional, Tuple

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# What Pillow decodes by itself: for EPS it would start Ghostscript. MPO counts as JPEG.
FORMATS = ('BMP', 'GIF', 'JPEG', 'PNG', 'PPM', 'TIFF', 'WEBP')


# Of a photograph; what a decoder makes of a file is up to 1000 times as large as the file.
MAX_PIXELS = 100_000_000
# From here on Pillow itself refuses to open a file.
PILLOW_LIMIT = 2 * Image.MAX_IMAGE_PIXELS
_REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    1: cv2.IMREAD_COLOR,
}


def decode_image(
    content: bytes, max_pixels: int = MAX_PIXELS, min_side: Optional[int] = None
) -> np.ndarray:
    """Decode an image file of any mode to 8-bit BGR, as OpenMMLab's transforms expect it.

    The EXIF orientation is applied, transparency is laid on white, 16 bits are scaled to 8, CMYK,
    palettes and grey become colour, and of several frames the first is taken.

    Args:
        content (bytes): The content of the file.
        max_pixels (int): The largest image to decode, by its header.
        min_side (int, optional): Let a JPEG be decoded at 1/2, 1/4 or 1/8 of its size where its
            shorter side stays at least as long as this. Defaults to None: at its full size.

    Returns:
        np.ndarray: Shape (H, W, 3), uint8, BGR.

    Raises:
        ValueError: If the file is empty, truncated, of no known format, larger than
            ``max_pixels``, or of 32 bits a channel.
    """
    try:
        with warnings.catch_warnings():
            # From half of that size on, Pillow warns.
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            image = Image.open(BytesIO(content), formats=FORMATS)
        pixels = image.width * image.height
        if pixels > max_pixels:
            raise ValueError(
                f'it has {pixels / 1e6:.0f} million pixels ({image.width}x{image.height}), more '
                f'than the {max_pixels / 1e6:g} million of max_pixels of LoadImage'
            )
        if image.format == 'JPEG' and image.mode in ('L', 'RGB'):
            # OpenCV decodes to the same pixels in a fraction of the time, EXIF orientation too.
            factor = next(n for n in _REDUCED if n == 1 or _fits(image.size, n, min_side))
            pixels = cv2.imdecode(np.frombuffer(content, np.uint8), _REDUCED[factor])
            if pixels is not None:
                return pixels
        image.load()
    except UnidentifiedImageError as error:
        raise ValueError(f'it is no image of a known format ({", ".join(FORMATS)})') from error
    except Exception as error:  # damaged files make decoders raise anything
        raise ValueError(str(error) or type(error).__name__) from error
    with suppress(Exception):  # damaged EXIF data are no reason to lose the image
        ImageOps.exif_transpose(image, in_place=True)
    return np.ascontiguousarray(rgb_pixels(image)[..., ::-1])


def _fits(size: Tuple[int, int], factor: int, min_side: Optional[int]) -> bool:
    return min_side is not None and min(size) // factor >= min_side


def rgb_pixels(image: Image.Image) -> np.ndarray:
    """Pixels of an image of any mode as :func:`decode_image` makes them, (H, W, 3) uint8, RGB.

    Raises:
        ValueError: If it has 32 bits a channel.
    """
    if image.mode.startswith('I'):
        pixels = np.asarray(image)
        if pixels.min() < 0 or pixels.max() > 65535:
            raise ValueError('it has 32 bits a channel, whose range is unknown')
        # Pillow's own conversion cuts off at 255.
        grey = (pixels / 257).round().astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == 'F':
        raise ValueError('it has 32 bits a channel, whose range is unknown')
    if image.has_transparency_data:
        image = image.convert('RGBA')
        canvas = Image.new('RGBA', image.size, 'white')
        canvas.alpha_composite(image)
        image = canvas
    return np.asarray(image.convert('RGB'))
