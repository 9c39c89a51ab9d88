from typing import List, Tuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_MARGIN = 4
_TITLE_WIDTH = 110
_THUMBNAIL = 64


def draw_contact_sheet(
    rows: List[Tuple[str, List[np.ndarray]]], thumbnail: int = _THUMBNAIL
) -> np.ndarray:
    """Draw rows of thumbnails with a title on the left of each.

    Args:
        rows (list): (title, images) of each row; images are uint8 RGB (H, W, 3) or grey (H, W, 1)
            of any size.
        thumbnail (int): Width and height of a thumbnail in pixels. Defaults to 64.

    Returns:
        np.ndarray: The sheet, uint8 RGB (H, W, 3).

    Raises:
        ValueError: If there is no image to draw.
    """
    columns = max((len(images) for _, images in rows), default=0)
    if columns == 0:
        raise ValueError('a contact sheet needs at least one image')
    pitch = thumbnail + _MARGIN
    size = (_TITLE_WIDTH + columns * pitch + _MARGIN, len(rows) * pitch + _MARGIN)
    sheet = Image.new('RGB', size, 'white')
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for r, (title, images) in enumerate(rows):
        top = _MARGIN + r * pitch
        draw.text((_MARGIN * 2, top + thumbnail // 2), title, fill='black', font=font, anchor='lm')
        for c, image in enumerate(images):
            tile = _fit(_tile(image).convert('RGB'), thumbnail)
            left = _TITLE_WIDTH + c * pitch + (thumbnail - tile.width) // 2
            sheet.paste(tile, (left, top + (thumbnail - tile.height) // 2))
    return np.asarray(sheet)


def shrink(image: np.ndarray, thumbnail: int = _THUMBNAIL) -> np.ndarray:
    """An image as it will be on a contact sheet, if it is larger: what many take less memory as.

    Args:
        image (np.ndarray): uint8 (H, W, 3) or grey (H, W, 1).
        thumbnail (int): Width and height of a thumbnail in pixels. Defaults to 64.

    Returns:
        np.ndarray: uint8 (h, w, 3) or (h, w, 1).
    """
    if max(image.shape[:2]) <= thumbnail:
        return image.copy()
    small = np.asarray(_fit(_tile(image), thumbnail))
    return small.reshape(*small.shape[:2], -1)


def _tile(image: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(image[..., 0] if image.shape[-1] == 1 else image))


def _fit(tile: Image.Image, thumbnail: int) -> Image.Image:
    # Small images stay sharp when enlarged, large ones smooth when reduced.
    enlarge = max(tile.size) <= thumbnail
    method = Image.Resampling.NEAREST if enlarge else Image.Resampling.LANCZOS
    scale = thumbnail / max(tile.size)
    return tile.resize([max(1, round(side * scale)) for side in tile.size], method)
