from pathlib import Path
from typing import Dict, Optional, Union

import numpy as np
from mmengine.device import get_device
from mmpretrain.registry import DATASETS

from cdc_mm.errors import RunError

from .neighbors import other_neighbors
from .row_dataset import RowDataset, check_views_of_rows
from .store import read_rows

_CHECKED = 65_536  # rows at once


@DATASETS.register_module()
class RowFile(RowDataset):
    """Rows of features that something else has made, in the place of images.

    As :class:`FeatureDataset` otherwise: in training an item holds a row for each named view.

    Args:
        path (str | Path): A ``.npy`` file (N, D), or the folder of a store.
        views (dict, optional): Source of each view by its name: the row itself (``image``), or one
            of its nearest neighbours by cosine (``neighbor``). Defaults to none.
        num_neighbors (int): Neighbours of each. Defaults to 20; N - 1 if there are fewer others.

    Raises:
        FileNotFoundError: If there is no such file.
        RunError: If a value is not finite.
        ValueError: If it holds no rows, or a source is not known.
    """

    def __init__(
        self,
        path: Union[str, Path],
        views: Optional[Dict[str, str]] = None,
        num_neighbors: int = 20,
    ) -> None:
        views = dict(views or {})
        check_views_of_rows(views, 0, num_neighbors, None)
        rows = read_rows(path)
        if rows.ndim != 2 or not np.issubdtype(rows.dtype, np.floating):
            raise ValueError(
                f'{path} must hold rows (N, D) of floating point numbers, got {rows.dtype} of '
                f'shape {rows.shape}'
            )
        for start in range(0, len(rows), _CHECKED):
            finite = np.isfinite(rows[start : start + _CHECKED]).all(axis=1)
            if not finite.all():
                raise RunError(
                    f'row {start + int(np.argmin(finite))} of {path} is not finite: leave such '
                    'rows out, or mend what made them'
                )
        neighbors = None
        if 'neighbor' in views.values():
            count = min(num_neighbors, len(rows) - 1)
            neighbors = other_neighbors(rows, count, get_device(), 0, len(rows))
        super().__init__(rows, views, neighbors=neighbors)
