from typing import Dict, Optional, Sequence, Union

import numpy as np
import torch
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.utils.data import Dataset
from torch.utils.data._utils.collate import default_collate_fn_map

from .store import Rows

SOURCES = ('image', 'augmented', 'neighbor')


class _WholeBatch:
    """A batch in the place of its items, which needs no collating: that takes a step per item."""

    def __init__(self, **content) -> None:
        self.content = content


# torch's way to extend `default_collate`, which mmengine's ends in.
default_collate_fn_map[_WholeBatch] = lambda batches, **_: batches[0].content


class RowDataset(Dataset):
    """Rows of features in the place of images; where they come from a subclass says.

    Args:
        rows (np.ndarray | Rows): Of the images, shape (N, D).
        views (dict): Source of each view by its name; see :class:`FeatureDataset`.
        augmented (Sequence): Rows (N, D) of each augmented view.
        neighbors (np.ndarray, optional): Numbers of each image's nearest, shape (N, k).

    Attributes:
        feat_dim (int): Width of the rows.
    """

    metainfo: dict = {}

    def __init__(
        self,
        rows: Union[np.ndarray, Rows],
        views: Dict[str, str],
        augmented: Sequence[Union[np.ndarray, Rows]] = (),
        neighbors: Optional[np.ndarray] = None,
    ) -> None:
        self._rows = rows
        self.views = views
        self._augmented = augmented
        self._neighbors = neighbors
        self.feat_dim = rows.shape[1]

    @property
    def rows(self) -> Union[np.ndarray, Rows]:
        """Rows (N, D) of the images as they are, in their order, read-only."""
        return self._rows

    @property
    def neighbors(self) -> Optional[np.ndarray]:
        """Numbers of the nearest others (N, k), nearest first; None if no view needs them."""
        return self._neighbors

    @property
    def view_names(self) -> tuple:
        """Names of the views of an item."""
        return tuple(self.views)

    def full_init(self) -> None:
        """Nothing: it is complete when it is built."""

    def __len__(self) -> int:
        return len(self._rows)

    def get_data_info(self, index: int) -> dict:
        """What is known of an item besides its row."""
        return dict(sample_idx=index % len(self))

    def __getitem__(self, index: int) -> dict:
        item = self.__getitems__([index])[0]
        if isinstance(item, _WholeBatch):
            return dict(inputs={name: rows[0] for name, rows in item.content['inputs'].items()})
        return item

    def __getitems__(self, indices: Sequence[int]) -> list:
        """Items of a batch, read together, for ``default_collate``.

        Returns:
            list: For training one batch that is complete: its ``inputs`` are rows (B, D) by view,
            and ``sample_idx`` (B,), the numbers of the images. For evaluation of each item
            ``inputs``, a row (D,), and ``data_samples`` with ``sample_idx``, also ``img_path`` of a
            file and ``gt_label`` of a labelled image.
        """
        indices = np.asarray(indices)
        if self.views:
            numbers = torch.from_numpy(indices % len(self))
            return [_WholeBatch(inputs=dict(self._draw(indices), sample_idx=numbers))]
        return [
            dict(inputs=row, data_samples=self._sample(int(index)))
            for row, index in zip(_tensor(self._rows[indices]).unbind(), indices)
        ]

    def _draw(self, indices: np.ndarray) -> Dict[str, Tensor]:
        batch = {}
        for source in dict.fromkeys(self.views.values()):
            names = [name for name, own in self.views.items() if own == source]
            if source == 'image':
                batch.update(dict.fromkeys(names, _tensor(self._rows[indices])))
                continue
            count = len(self._augmented) if source == 'augmented' else self._neighbors.shape[1]
            # Different ones for the names of a source: the first of a random order.
            order = np.random.rand(len(indices), count).argsort(axis=1)
            for name, choice in zip(names, order.T):
                if source == 'neighbor':
                    rows = self._rows[self._neighbors[indices, choice]]
                else:
                    rows = np.empty((len(indices), self.feat_dim), self._rows.dtype)
                    for view in np.unique(choice):
                        rows[choice == view] = self._augmented[view][indices[choice == view]]
                batch[name] = _tensor(rows)
        return {name: batch[name] for name in self.views}

    def _sample(self, index: int) -> DataSample:
        sample = DataSample()
        info = self.get_data_info(index)
        for key in ('sample_idx', 'img_path'):
            if key in info:
                # Without the deep copy that DataSample(metainfo=...) makes.
                sample.set_field(info[key], key, field_type='metainfo')
        if info.get('gt_label') is not None:
            sample.set_gt_label(info['gt_label'])
        return sample


def check_views_of_rows(views: dict, num_views: int, num_neighbors: int, augment) -> None:
    """Refuse views that rows cannot give.

    Args:
        views (dict): Source of each by its name.
        num_views (int): Augmented views of each image.
        num_neighbors (int): Neighbours of each image.
        augment (dict | list, optional): How images are augmented; None if they are not.

    Raises:
        ValueError: If a source is not known, or there is less of it than the views need.
    """
    for name, source in views.items():
        if source not in SOURCES:
            raise ValueError(
                f'views must name the source of each, one of {", ".join(SOURCES)}; {name} has '
                f'{source!r}'
            )
    for source, setting, count in (
        ('augmented', 'num_views', num_views),
        ('neighbor', 'num_neighbors', num_neighbors),
    ):
        names = [name for name, own in views.items() if own == source]
        if len(names) > count:
            raise ValueError(
                f'{setting}={count} is less than the {len(names)} views that are drawn from them: '
                f'{", ".join(names)}'
            )
        if names and source == 'augmented' and augment is None:
            raise ValueError(f'{", ".join(names)} is to be augmented, but `augment` says not how')


def _tensor(rows: np.ndarray) -> Tensor:
    # A copy where it is a slice of a memory map, which is read-only.
    return torch.from_numpy(np.array(rows, np.float32))
