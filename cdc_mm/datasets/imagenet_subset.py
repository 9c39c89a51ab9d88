from pathlib import Path
from typing import List, Tuple, Union

from mmpretrain.datasets import CustomDataset
from mmpretrain.datasets.custom import get_samples
from mmpretrain.registry import DATASETS

from .listing import check_list, read_lines


@DATASETS.register_module()
class ImageNetSubset(CustomDataset):
    """Some classes of ImageNet: the folders of ``<data_root>/<split>`` that a list names.

    Args:
        data_root (str): The folder that holds ``train/`` and ``val/``, with one folder of images
            for each class (synset).
        subset (int | str): 50, 100 or 200 for `SCAN's
            <https://github.com/wvangansbeke/Unsupervised-Classification>`_ nested subsets, or a
            file with a class folder on each line, its name after a space if wanted. Labels count
            the lines from 0.
        split (str): ``train`` or ``val``. Defaults to ``train``.
        **kwargs: Other keyword arguments of mmpretrain's ``CustomDataset``.

    Raises:
        FileNotFoundError: If the list or class folders are missing or empty.
        ValueError: If ``split`` is neither, or the list is empty or names a class twice, or if an
            ``ann_file`` has paths that lead out of the folder.
    """

    def __init__(
        self, data_root: str, subset: Union[int, str], split: str = 'train', **kwargs
    ) -> None:
        if split not in ('train', 'val'):
            raise ValueError(f"split must be 'train' or 'val', got {split!r}")
        self.folders, names = read_class_list(subset)
        super().__init__(
            data_root=data_root, data_prefix=split, metainfo=dict(classes=names), **kwargs
        )

    def load_data_list(self) -> List[dict]:
        """Path and label of every image."""
        if self.ann_file:
            check_list(self.ann_file)
        return super().load_data_list()

    def _find_samples(self) -> List[Tuple[str, int]]:
        root = Path(self.img_prefix)
        labels = {name: label for label, name in enumerate(self.folders)}
        empty = {name for name in self.folders if not (root / name).is_dir()}
        samples = []
        if not empty:
            samples, empty = get_samples(self.img_prefix, labels, self.is_valid_file)
        if empty:
            shown = ', '.join(sorted(empty)[:3]) + (', ...' if len(empty) > 3 else '')
            raise FileNotFoundError(
                f'{root} lacks the images of {len(empty)} of {len(self.folders)} classes: {shown}. '
                f'Expected: {self.data_root}/{{train,val}}/<synset>/*.JPEG. Get ILSVRC2012 from '
                'https://image-net.org/download.php, sort the validation images into folders by '
                'class, and point data_root to it.'
            )
        return samples


def read_class_list(subset: Union[int, str]) -> Tuple[List[str], List[str]]:
    """Read a list of classes.

    Args:
        subset (int | str): See :class:`ImageNetSubset`.

    Returns:
        tuple: The class folders and the names of the classes, in the order of the list.

    Raises:
        FileNotFoundError: If there is no such list.
        ValueError: If it is empty, names a class twice, or names what is no plain folder name.
    """
    shipped = Path(__file__).parent / 'imagenet_subsets'
    path = shipped / f'imagenet_{subset}.txt' if isinstance(subset, int) else Path(subset)
    if not path.is_file():
        raise FileNotFoundError(
            f'there is no class list {subset}. subset is 50, 100, 200 or a file with a class '
            'folder (synset) on each line.'
        )
    lines = [line.split(maxsplit=1) for line in read_lines(str(path)) if line.strip()]
    folders, names = [line[0] for line in lines], [line[-1].strip() for line in lines]
    if not folders or len(set(folders)) < len(folders):
        raise ValueError(
            f'{path} names {len(folders)} classes, {len(set(folders))} of them different; it must '
            'name each class once.'
        )
    outside = [folder for folder in folders if Path(folder).name != folder or folder == '..']
    if outside:
        raise ValueError(f'{path} names {outside[0]}, which is no folder of the data set.')
    return folders, names
