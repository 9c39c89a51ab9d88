import xml.etree.ElementTree as ET
from pathlib import Path
from typing import List, Tuple

from mmpretrain.datasets import VOC
from mmpretrain.registry import DATASETS

from .listing import check_below, read_lines


@DATASETS.register_module()
class VOC07(VOC):
    """Multi-label images in the tree of PASCAL VOC; mmpretrain's with clear errors.

    An image has a class if it shows an object of it that is not marked difficult. Objects without a
    ``difficult`` mark, which tools for own images leave out, count.

    Args:
        data_root (str): The folder that holds ``JPEGImages/``, ``Annotations/`` and
            ``ImageSets/Main/<split>.txt``.
        split (str): ``train``, ``val``, ``trainval`` or ``test``. Defaults to ``trainval``.
        **kwargs: Other keyword arguments of mmpretrain's ``VOC``; for other classes than VOC's
            ``metainfo=dict(classes=...)``.

    Raises:
        FileNotFoundError: If a folder, the list or an annotation is missing; says what is needed.
        ValueError: If no image shows any of the classes.
    """

    def __init__(self, data_root: str, split: str = 'trainval', **kwargs) -> None:
        root = Path(data_root)
        missing = [
            name
            for name in ('JPEGImages', 'Annotations', f'ImageSets/Main/{split}.txt')
            if not (root / name).exists()
        ]
        if missing:
            raise FileNotFoundError(
                f'{root} lacks {", ".join(missing)}. Expected:\n'
                f'  {root}/JPEGImages/<id>.jpg\n'
                f'  {root}/Annotations/<id>.xml\n'
                f'  {root}/ImageSets/Main/{split}.txt   (an id on each line)\n'
                'Unpack VOCtrainval_06-Nov-2007.tar and VOCtest_06-Nov-2007.tar from '
                'http://host.robots.ox.ac.uk/pascal/VOC/voc2007/ into one folder and point '
                'data_root to its VOCdevkit/VOC2007.'
            )
        super().__init__(data_root=data_root, split=split, **kwargs)

    def _get_labels_from_xml(self, img_id: str) -> Tuple[List[int], List[int]]:
        path = Path(self.ann_prefix) / f'{img_id}.xml'
        if not path.is_file():
            raise FileNotFoundError(
                f'{path} is missing, though {self.image_set_path} lists {img_id}. VOC2007 comes in '
                'two archives, of trainval and of test: unpack both.'
            )
        labels, difficult = set(), set()
        for item in ET.parse(path).getroot().findall('object'):
            name = item.findtext('name')
            if name in self.class_to_idx:
                marked = int(item.findtext('difficult', '0'))
                (difficult if marked else labels).add(self.class_to_idx[name])
        return sorted(labels), sorted(difficult)

    def load_data_list(self) -> List[dict]:
        """Images with the numbers of their classes, ``gt_label`` and ``gt_label_difficult``."""
        check_below(read_lines(self.image_set_path), self.image_set_path)
        data_list = super().load_data_list()
        if not any(info['gt_label'] for info in data_list):
            raise ValueError(
                f'no image of {self.image_set_path} shows any of the classes '
                f'{", ".join(self.CLASSES[:5])}, ...: name those of your annotations in '
                'metainfo=dict(classes=...) of the dataset.'
            )
        return data_list
