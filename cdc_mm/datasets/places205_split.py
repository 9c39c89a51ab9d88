from pathlib import Path
from typing import List

from mmpretrain.datasets import Places205
from mmpretrain.registry import DATASETS

from .listing import check_below, read_lines

_IMAGES = 'data/vision/torralba/deeplearning/images256'


@DATASETS.register_module()
class Places205Split(Places205):
    """A split of Places205 as it was released: mmpretrain's, found by the list files.

    Args:
        data_root (str): The folder that holds ``trainvalsplit_places205/<split>_places205.csv`` and
            the images.
        split (str): ``train`` or ``val``. Defaults to ``train``.
        data_prefix (str): Where the images lie within ``data_root``. Defaults to the folder of the
            released archive.
        **kwargs: Other keyword arguments of mmpretrain's ``Places205``.

    Raises:
        FileNotFoundError: If the list or the images are missing; shows what is expected.
        ValueError: If ``split`` is neither.
    """

    def __init__(
        self, data_root: str, split: str = 'train', data_prefix: str = _IMAGES, **kwargs
    ) -> None:
        if split not in ('train', 'val'):
            raise ValueError(f"split must be 'train' or 'val', got {split!r}")
        ann_file = f'trainvalsplit_places205/{split}_places205.csv'
        root = Path(data_root)
        missing = [name for name in (ann_file, data_prefix) if not (root / name).exists()]
        if missing:
            raise FileNotFoundError(
                f'{root} lacks {", ".join(missing)}. Expected:\n'
                f'  {root}/{ann_file}   (on each line a path and the number of its class)\n'
                f'  {root}/{data_prefix}/<letter>/<class>/*.jpg\n'
                'Unpack imagesPlaces205_resize.tar.gz and trainvalsplit_places205.tar.gz from '
                'http://places.csail.mit.edu there, or point data_root to where they are.'
            )
        super().__init__(data_root=data_root, data_prefix=data_prefix, ann_file=ann_file, **kwargs)

    def load_data_list(self) -> List[dict]:
        """Path and label of every image of the list."""
        names = [line.rsplit(None, 1)[0] for line in read_lines(self.ann_file) if line.strip()]
        check_below(names, self.ann_file)
        return super().load_data_list()
