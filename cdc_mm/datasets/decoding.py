import warnings
from contextlib import suppress
from io import BytesIO

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# What Pillow decodes by itself: for EPS it would start Ghostscript. MPO counts as JPEG.
FORMATS = ('BMP', 'GIF', 'JPEG', 'PNG', 'PPM', 'TIFF', 'WEBP')


def decode_image(content: bytes) -> np.ndarray:
    """Decode an image file of any mode to 8-bit BGR, as OpenMMLab's transforms expect it.

    The EXIF orientation is applied, transparency is laid on white, 16 bits are scaled to 8, CMYK,
    palettes and grey become colour, and of several frames the first is taken.

    Args:
        content (bytes): The content of the file.

    Returns:
        np.ndarray: Shape (H, W, 3), uint8, BGR.

    Raises:
        ValueError: If the file is empty, truncated, of no known format, so large that it looks
            like a decompression bomb (more than 179 million pixels), or of 32 bits a channel.
    """
    try:
        with warnings.catch_warnings():
            # From half of that size on, Pillow warns.
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            image = Image.open(BytesIO(content), formats=FORMATS)
        if image.format == 'JPEG' and image.mode in ('L', 'RGB'):
            # OpenCV decodes to the same pixels in a fraction of the time, EXIF orientation too.
            pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
            if pixels is not None:
                return pixels
        image.load()
    except UnidentifiedImageError as error:
        raise ValueError(f'it is no image of a known format ({", ".join(FORMATS)})') from error
    except Exception as error:  # damaged files make decoders raise anything
        raise ValueError(str(error) or type(error).__name__) from error
    with suppress(Exception):  # damaged EXIF data are no reason to lose the image
        ImageOps.exif_transpose(image, in_place=True)
    return np.ascontiguousarray(_to_rgb(image)[..., ::-1])


def _to_rgb(image: Image.Image) -> np.ndarray:
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
