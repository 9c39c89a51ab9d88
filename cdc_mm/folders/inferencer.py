from pathlib import Path
from typing import Any, List, Union

import numpy as np
from PIL import Image

from .image_clusterer import ImageClusterer
from .sources import as_folder


class ClusterInferencer:
    """Which cluster new images are in, by a model that was saved.

    Args:
        model (str | Path | ImageClusterer): The folder that :meth:`ImageClusterer.save` wrote (the
            ``model`` in what ``tools/cluster.py`` writes), or a fitted clusterer.

    Raises:
        FileNotFoundError: If there is no such folder.

    Examples:
        >>> ClusterInferencer('OUT/model')('photo.jpg')
        [{'cluster': 3, 'confidence': 0.91, 'probabilities': array([...])}]
    """

    def __init__(self, model: Union[str, Path, ImageClusterer]) -> None:
        if not isinstance(model, ImageClusterer):
            model = ImageClusterer.load(model)
        self.clusterer = model

    def __call__(self, images: Any) -> List[dict]:
        """Assign images.

        Args:
            images (str | Path | PIL.Image.Image | np.ndarray | Sequence): The path of an image, a
                picture, an array (H, W) or (H, W, 3) of uint8, or several of these; a folder.

        Returns:
            list: For each ``cluster``, ``confidence`` and ``probabilities`` (K,).

        Raises:
            FileNotFoundError: If there is no such folder.
            RunError: If an image cannot be read.
        """
        if isinstance(images, (str, Path)):
            images = [images] if not Path(images).is_dir() else as_folder(images)
        elif isinstance(images, Image.Image) or (
            isinstance(images, np.ndarray)
            and (images.ndim == 2 or images.shape[-1:] == (3,))
            and images.ndim < 4
        ):
            images = [images]
        found = self.clusterer.predict_proba(images)
        return [
            dict(cluster=int(row.argmax()), confidence=float(row.max()), probabilities=row)
            for row in found
        ]
