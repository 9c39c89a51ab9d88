import numpy as np
from PIL import Image, ImageDraw, ImageFont

_MARGIN = 6


def draw_caption(image: np.ndarray, caption: str, side: int = 256) -> np.ndarray:
    """Draw an image, enlarged if it is small, with a line of text below.

    Args:
        image (np.ndarray): uint8 RGB (H, W, 3) or grey (H, W, 1).
        caption (str): The text.
        side (int): The longer side that a smaller image is enlarged to, by a whole factor. Defaults
            to 256.

    Returns:
        np.ndarray: The picture, uint8 RGB (H, W, 3).
    """
    picture = Image.fromarray(np.ascontiguousarray(image).squeeze()).convert('RGB')
    factor = max(1, side // max(picture.size))
    # Pixels stay sharp, so that one sees what the network sees.
    picture = picture.resize([n * factor for n in picture.size], Image.Resampling.NEAREST)
    font = ImageFont.load_default(16)
    left, _, right, bottom = font.getbbox(caption)
    size = (
        max(picture.width, right - left + 2 * _MARGIN),
        picture.height + bottom + 2 * _MARGIN,
    )
    canvas = Image.new('RGB', size, 'white')
    canvas.paste(picture, ((canvas.width - picture.width) // 2, 0))
    place = (canvas.width // 2, picture.height + _MARGIN)
    ImageDraw.Draw(canvas).text(place, caption, fill='black', font=font, anchor='ma')
    return np.asarray(canvas)
