import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Dict, Iterable, List, Sequence, Tuple

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances, register_pascal_voc

from cdc_mm.datasets.listing import check_below


def use_voc(cfg: CfgNode, root: str) -> None:
    """Train and evaluate on a folder in the layout of Pascal VOC, with its own classes.

    Trains on ``trainval`` or, without one, ``train``; evaluates on ``test`` or, without one,
    ``val``, by the AP of VOC 2012 (the area under the precision-recall curve).

    Args:
        cfg (CfgNode): Changed in place: data sets, number of classes, no masks, no paper.
        root (str): The folder of ``Annotations/``, ``ImageSets/Main/`` and ``JPEGImages/``.

    Raises:
        FileNotFoundError: If a folder or file is missing.
        ValueError: If an annotation cannot be read, the splits share images, or the classes differ.
    """
    splits = [_find_split(root, names) for names in (('trainval', 'train'), ('test', 'val'))]
    objects = [_read_voc(root, split) for split in splits]
    _check_apart(splits, objects)
    train, test = ({name for found in split.values() for name, _ in found} for split in objects)
    # The metric skips what is marked difficult.
    scored = {name for found in objects[1].values() for name, difficult in found if not difficult}
    if test - train:
        raise ValueError(f'{root}: {splits[0]} has no object of {sorted(test - train)}')
    if not scored or train - scored:
        raise ValueError(
            f'{root}: {splits[1]} has no object of {sorted(train - scored)}, whose AP is then '
            'undefined. Move images between the splits or remove the class.'
        )
    names = [f'{Path(root).resolve().name}:{split}' for split in splits]
    for name, split in zip(names, splits):
        _forget(name)
        register_pascal_voc(name, root, split, 2012, sorted(train))
        MetadataCatalog.get(name).set(evaluator_type='pascal_voc')
    _set_data(cfg, names, len(train), masks=False)


def use_coco(cfg: CfgNode, json_files: Sequence[str], image_roots: Sequence[str] = ()) -> None:
    """Train and evaluate on annotations in COCO's format, with their own classes.

    Args:
        cfg (CfgNode): Changed in place: data sets, number of classes, masks only where every
            object has one, no paper.
        json_files (Sequence[str]): The training and the test file.
        image_roots (Sequence[str]): The folders of their images, or one for both; by default the
            folders of the files.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is not in COCO's format, the splits share images, or the classes
            differ.
    """
    roots = list(image_roots) or [str(Path(file).parent) for file in json_files]
    roots = roots * 2 if len(roots) == 1 else roots
    contents = [_read_coco(file, root) for file, root in zip(json_files, roots)]
    _check_apart(
        json_files,
        [
            [str(Path(root, image['file_name']).resolve()) for image in content['images']]
            for content, root in zip(contents, roots)
        ],
    )
    categories = [{c['id']: c['name'] for c in content['categories']} for content in contents]
    if categories[0] != categories[1]:
        raise ValueError(f'{json_files[1]} has other categories than {json_files[0]}')
    names = [f'{Path(file).resolve().parent.name}:{Path(file).stem}' for file in json_files]
    for name, file, root in zip(names, json_files, roots):
        _forget(name)
        register_coco_instances(name, {}, file, root)
    masks = all(a.get('segmentation') for content in contents for a in content['annotations'])
    _set_data(cfg, names, len(categories[0]), masks)


def check_data(cfg: CfgNode) -> None:
    """Look for the files of the data sets of a config before work starts.

    Args:
        cfg (CfgNode): A full config.

    Raises:
        FileNotFoundError: If a folder or file is missing.
        ValueError: If the config names no data set, or one that detectron2 does not know.
    """
    if not cfg.DATASETS.TRAIN or not cfg.DATASETS.TEST:
        raise ValueError('the config names no data set: add --voc-root or --coco-json')
    for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST):
        if name not in DatasetCatalog:
            raise ValueError(f'detectron2 knows no data set {name}')
        meta = MetadataCatalog.get(name)
        kind = meta.get('evaluator_type')
        if kind not in ('pascal_voc', 'coco'):
            raise ValueError(f'{name} is neither a data set of VOC nor one of COCO')
        if kind == 'pascal_voc':
            root = Path(meta.dirname)
            paths = [
                root / 'ImageSets/Main' / f'{meta.split}.txt',
                root / 'Annotations',
                root / 'JPEGImages',
            ]
        else:
            paths = [Path(meta.json_file), Path(meta.image_root)]
        for path in paths:
            if not path.exists():
                raise FileNotFoundError(
                    f'{name}: there is no {path}. Put the data there, or set DETECTRON2_DATASETS '
                    'to the folder of VOC2007/, VOC2012/ and coco/ (by default datasets/).'
                )


def _find_split(root: str, names: Sequence[str]) -> str:
    folder = Path(root, 'ImageSets/Main')
    for name in names:
        if (folder / f'{name}.txt').is_file():
            return name
    raise FileNotFoundError(f'there is no {folder / names[0]}.txt and no {names[1]}.txt beside it')


def _read_voc(root: str, split: str) -> Dict[str, List[Tuple[str, bool]]]:
    # By image, the class of each object and whether it is difficult. Reads what detectron2 will
    # read, some of it only after training.
    file = Path(root, 'ImageSets/Main', f'{split}.txt')
    ids = file.read_text().split()
    if len(ids) < 2:
        raise ValueError(f'{file} lists {len(ids)} images, needed are at least 2')
    check_below(ids, str(file))
    return {i: _read_voc_objects(Path(root), i) for i in ids}


def _read_voc_objects(root: Path, image_id: str) -> List[Tuple[str, bool]]:
    image, file = root / 'JPEGImages' / f'{image_id}.jpg', root / 'Annotations' / f'{image_id}.xml'
    for path in (image, file):
        if not path.is_file():
            raise FileNotFoundError(f'there is no {path}, which ImageSets/Main lists')
    try:
        tree = ElementTree.parse(file)
        for name in ('height', 'width'):
            int(tree.find(f'size/{name}').text)
        objects = tree.findall('object')
        for found in objects:
            numbers = ('truncated', 'bndbox/xmin', 'bndbox/ymin', 'bndbox/xmax', 'bndbox/ymax')
            for name in numbers:
                int(found.find(name).text)
            _ = found.find('pose').text
        return [(o.find('name').text, bool(int(o.find('difficult').text))) for o in objects]
    except (AttributeError, ElementTree.ParseError, TypeError, ValueError) as error:
        raise ValueError(
            f'{file} is no annotation that detectron2 can read ({error}). It needs size/width and '
            'height, and of every object name, pose, truncated, difficult and bndbox, with whole '
            'numbers.'
        ) from error


def _read_coco(file: str, root: str) -> dict:
    if not Path(file).is_file():
        raise FileNotFoundError(f'there is no {file}')
    try:
        content = json.loads(Path(file).read_text())
        paths = [Path(root, image['file_name']) for image in content['images']]
        known = {category['id'] for category in content['categories']}
        if not {a['category_id'] for a in content['annotations']} <= known:
            raise ValueError('objects of unknown categories')
        if not content['annotations']:
            raise ValueError('no objects')
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is not in COCO's format: {error}") from error
    check_below((image['file_name'] for image in content['images']), str(file))
    missing = next((path for path in paths if not path.is_file()), None)
    if missing is not None:
        raise FileNotFoundError(f'there is no {missing}, which {file} lists; see --image-root')
    return content


def _check_apart(splits: Sequence[str], images: Sequence[Iterable[str]]) -> None:
    shared = set(images[0]) & set(images[1])
    if shared:
        raise ValueError(
            f'{len(shared)} images are both in {splits[0]} and in {splits[1]} ({min(shared)}); '
            'figures on images that were trained on say nothing'
        )


def _forget(name: str) -> None:
    if name in DatasetCatalog:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def _set_data(cfg: CfgNode, names: List[str], num_classes: int, masks: bool) -> None:
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (names[0],), (names[1],)
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = num_classes
    cfg.MODEL.MASK_ON = cfg.MODEL.MASK_ON and masks
    cfg.PAPER = CfgNode(new_allowed=True)
