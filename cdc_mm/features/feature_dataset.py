from copy import deepcopy
from functools import reduce
from pathlib import Path
from typing import Dict, Optional, Union

import numpy as np
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS, MODELS
from torch import nn

from .encoder_rows import EncoderRows, encoder_settings
from .neighbors import neighbor_table
from .row_dataset import RowDataset, check_views_of_rows
from .store import Rows
from .unreadable import tell_unreadable


@DATASETS.register_module()
class FeatureDataset(RowDataset):
    """Rows of a frozen encoder in the place of images, for training and for evaluation.

    Each image passes the encoder once, and so does each of its augmented views; from then on an
    epoch takes seconds. What is missing in the store is made when the data set is built, with
    progress; see :class:`FeatureStore` for what is made anew when something changes.

    In training an item holds a row for each named view: of the image itself (``image``), of one of
    its augmented views (``augmented``) or of one of its nearest neighbours (``neighbor``), drawn
    at random each time; views that draw from the same source get different ones. Without ``views``,
    for evaluation, it is the row of the image.

    Images that could not be read are left out. On several ranks all must build it.

    Args:
        dataset (dict): Config of the images; without a ``pipeline`` it gets
            :func:`encoder_pipeline` for the size that the encoder was trained with.
        encoder (dict | nn.Module): Config of the encoder, or one that is built.
        views (dict, optional): Source of each view by its name. Defaults to none.
        num_views (int): Augmented views of each image. Defaults to 4.
        num_neighbors (int): Neighbours of each image. Defaults to 20.
        augment (dict | list, optional): Steps of the augmentation, as of a view of the
            :class:`MultiViewDataPreprocessor`; they see images as the pipeline leaves them.
        store_dir (str | Path): Where the stores lie. Defaults to ``work_dirs/features``.
        to_rgb (bool): Whether the images come as BGR, as from ``LoadImage``. Defaults to True.
        dtype (str): ``float32`` or ``float16``, of the rows on disk. Defaults to ``float32``.
        bf16 (bool): Whether the encoder computes in bfloat16. Defaults to False.
        batch_size (int): Images that pass the encoder at once. Defaults to 64.
        num_workers (int): Processes that load images meanwhile. Defaults to 2.
        settings (dict, optional): Of an encoder that is built: :func:`encoder_settings` of its
            config, for rows that this config made to be known.

    Attributes:
        feat_dim (int): Width of the rows.
        digest (str): Tells apart rows that are made in different ways.

    Raises:
        FileNotFoundError: If the images are not there.
        RunError: If no image can be read, or a row is not finite.
        ValueError: If a source is not known, or there are too few augmented views, neighbours or
            images for what is asked.
    """

    def __init__(
        self,
        dataset: dict,
        encoder: Union[dict, nn.Module],
        views: Optional[Dict[str, str]] = None,
        num_views: int = 4,
        num_neighbors: int = 20,
        augment: Optional[Union[dict, list]] = None,
        store_dir: Union[str, Path] = 'work_dirs/features',
        to_rgb: bool = True,
        dtype: str = 'float32',
        bf16: bool = False,
        batch_size: int = 64,
        num_workers: int = 2,
        settings: Optional[dict] = None,
    ) -> None:
        views = dict(views or {})
        self._to_rgb = to_rgb
        check_views_of_rows(views, num_views, num_neighbors, augment)
        if not isinstance(encoder, nn.Module):
            settings = encoder_settings(encoder)
            encoder = MODELS.build(deepcopy(dict(encoder)))
            encoder.init_weights()
        extract = EncoderRows(
            encoder, store_dir, settings, to_rgb, dtype, bf16, batch_size, num_workers
        )
        self._image_set = extract.open(dataset)
        images = self._image_set.images
        stores = [extract.store(self._image_set)]
        if 'augmented' in views.values():
            stores += [
                extract.store(
                    self._image_set, augment, view, f'augmented view {view + 1} of {num_views}'
                )
                for view in range(num_views)
            ]
        found = [store.rows(images.ids)[1] for store in stores]
        self._kept = reduce(np.intersect1d, found)
        tell_unreadable(images.without(self._kept))
        ids = images.ids[self._kept]
        rows, *augmented = [store.rows(ids)[0] for store in stores]
        neighbors = None
        if 'neighbor' in views.values():
            if num_neighbors >= len(ids):
                raise ValueError(
                    f'num_neighbors={num_neighbors}, and each of the {len(ids)} images has '
                    f'{len(ids) - 1} others: lower num_neighbors, or add images'
                )
            neighbors = neighbor_table(stores[0], ids, num_neighbors, get_device())
        self.digest = stores[0].path.name
        super().__init__(rows, views, augmented, neighbors)

    @property
    def metainfo(self) -> dict:
        """That of the images."""
        return self._image_set.dataset.metainfo

    def get_data_info(self, index: int) -> dict:
        """What the data set of images says of an image: path, or pixels; label if there is one."""
        info = self._image_set.dataset.get_data_info(int(self._kept[index]))
        return dict(info, sample_idx=index % len(self))

    def picture(self, index: int) -> np.ndarray:
        """The image of an item as the encoder sees it, uint8 (H, W, C), RGB or grey."""
        inputs = self._image_set.dataset[int(self._kept[index])]['inputs']
        pixels = inputs.permute(1, 2, 0).numpy()
        return pixels[..., ::-1] if self._to_rgb else pixels


def dataset_rows(cfg: dict) -> Union[np.memmap, Rows]:
    """Rows (N, D) of the images of a :class:`FeatureDataset`, without views of them.

    Args:
        cfg (dict): Config of the data set.

    Raises:
        FileNotFoundError: If the images or the weights are not there.
        RunError: If no image can be read, or a row is not finite.
    """
    init_default_scope('mmpretrain')
    return DATASETS.build({key: value for key, value in cfg.items() if key != 'views'}).rows
