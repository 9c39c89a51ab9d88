"""Small pictures as text, as many as a page has room for."""

import base64
import io
from typing import Callable, Dict, List, Optional, Sequence

from PIL import Image, features

_QUALITY = 75


class Thumbnails:
    """Pictures by index, each encoded once.

    Args:
        thumbnail (Callable): Gives the picture of an image by its index. Where it raises an error
            there is none.

    Attributes:
        texts (list[str]): The pictures in base64.
        place (dict): Index of an image -> its place in ``texts``.
        num_bytes (int): Of the texts with quotes and commas.
        media_type (str): ``image/webp``, or ``image/jpeg`` where Pillow has no WebP.
    """

    media_type = 'image/webp' if features.check('webp') else 'image/jpeg'

    def __init__(self, thumbnail: Callable[[int], Image.Image]) -> None:
        self.texts: List[str] = []
        self.place: Dict[int, int] = {}
        self.num_bytes = 0
        self._thumbnail = thumbnail
        self._pictures: Dict[int, Optional[Image.Image]] = {}

    def add(self, indices: Sequence[int], side: int, max_bytes: int) -> None:
        """Encode pictures until there is no more room.

        Args:
            indices (Sequence[int]): Of images, the most important first; those that are there
                already are not encoded again.
            side (int): Pixels of the longer side at most.
            max_bytes (int): Of all ``texts`` with quotes and commas.
        """
        for index in map(int, indices):
            if index in self.place:
                continue
            text = self._encode(self._pictures.pop(index, None) or self._open(index), side)
            if text is None:
                continue
            if self.num_bytes + len(text) + 4 > max_bytes:
                return
            self.num_bytes += len(text) + 4
            self.place[index] = len(self.texts)
            self.texts.append(text)

    def measure(self, indices: Sequence[int], sides: Sequence[int]) -> Dict[int, float]:
        """Mean bytes of some pictures as text, by side; they are kept for :meth:`add`."""
        for index in map(int, indices):
            self._pictures[index] = self._open(index)
        known = [picture for picture in self._pictures.values() if picture is not None]
        total = {
            side: sum(len(self._encode(picture, side)) + 4 for picture in known) for side in sides
        }
        return {side: total[side] / max(len(known), 1) for side in sides}

    def _open(self, index: int) -> Optional[Image.Image]:
        try:
            return self._thumbnail(index).convert('RGB')
        except Exception:  # damaged files make decoders raise anything
            return None

    def _encode(self, picture: Optional[Image.Image], side: int) -> Optional[str]:
        if picture is None:
            return None
        if max(picture.size) > side:
            picture = picture.copy()
            picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        picture.save(file, self.media_type.partition('/')[2], quality=_QUALITY)
        return base64.b64encode(file.getvalue()).decode()
