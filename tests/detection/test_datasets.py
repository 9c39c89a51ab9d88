import json
import shutil
from pathlib import Path

import generated
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers import ROOT

from cdc_mm.detection.config import load_config
from cdc_mm.detection.datasets import check_data, use_coco, use_voc

CATEGORIES = [dict(id=3, name='cell'), dict(id=7, name='dish')]


def config(name='voc_R_50_C4_24k_cdc', *options):
    return load_config(str(ROOT / f'configs/detection/{name}.yaml'), options)


@pytest.fixture
def voc(tmp_path):
    return generated.voc_detection(tmp_path / 'own', ['cell', 'dish'], trainval=3, test=2)


@pytest.fixture
def coco(tmp_path):
    return generated.coco_detection(tmp_path / 'own', CATEGORIES)


def jsons(root):
    return [str(root / f'annotations/instances_{split}2017.json') for split in ('train', 'val')]


def images(root):
    return [str(root / f'{split}2017') for split in ('train', 'val')]


def test_voc_brings_its_own_classes(voc):
    for _ in range(2):  # registering again must not fail
        cfg = config()
        use_voc(cfg, str(voc))
    assert (cfg.DATASETS.TRAIN, cfg.DATASETS.TEST) == (('own:trainval',), ('own:test',))
    assert (cfg.MODEL.ROI_HEADS.NUM_CLASSES, dict(cfg.PAPER)) == (2, {})
    assert MetadataCatalog.get('own:test').thing_classes == ['cell', 'dish']
    dicts = DatasetCatalog.get('own:trainval')
    assert len(dicts) == 3 and [o['category_id'] for o in dicts[0]['annotations']] == [0, 1]
    check_data(cfg)


def test_voc_takes_train_and_val_where_there_is_no_more(tmp_path):
    root = generated.voc_detection(tmp_path / 'own', ['cell'], train=2, val=2)
    cfg = config()
    use_voc(cfg, str(root))
    assert cfg.DATASETS.TRAIN + cfg.DATASETS.TEST == ('own:train', 'own:val')


def test_coco_brings_its_own_classes_and_masks(coco):
    cfg = config('coco_R_50_C4_2x_cdc')
    use_coco(cfg, jsons(coco), images(coco))
    assert cfg.DATASETS.TRAIN == ('annotations:instances_train2017',)
    assert (cfg.MODEL.ROI_HEADS.NUM_CLASSES, cfg.MODEL.MASK_ON, dict(cfg.PAPER)) == (2, True, {})
    dicts = DatasetCatalog.get(cfg.DATASETS.TRAIN[0])
    assert {o['category_id'] for d in dicts for o in d['annotations']} == {0, 1}
    assert MetadataCatalog.get(cfg.DATASETS.TRAIN[0]).thing_classes == ['cell', 'dish']
    check_data(cfg)


def test_coco_without_masks_trains_none(tmp_path):
    root = generated.coco_detection(tmp_path / 'own', CATEGORIES, masks=False)
    for folder in images(root):  # by default the images lie beside the file
        shutil.copytree(folder, root / 'annotations', dirs_exist_ok=True)
    cfg = config('coco_R_50_C4_2x_cdc')
    use_coco(cfg, jsons(root))
    assert not cfg.MODEL.MASK_ON


def replace(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (lambda r: shutil.rmtree(r / 'ImageSets'), r'there is no .*trainval.txt and no train.txt'),
        (lambda r: (r / 'ImageSets/Main/test.txt').unlink(), 'there is no .*test.txt'),
        (lambda r: (r / 'ImageSets/Main/test.txt').write_text('a\n'), 'lists 1 images'),
        (
            lambda r: (r / 'ImageSets/Main/test.txt').write_text('trainval_000000\ntest_000000'),
            r'1 images are both in trainval and in test \(trainval_000000\)',
        ),
        (lambda r: (r / 'JPEGImages/test_000001.jpg').unlink(), r'there is no .*test_000001\.jpg'),
        (lambda r: (r / 'Annotations/test_000001.xml').unlink(), r'there is no .*test_000001\.xml'),
        (lambda r: (r / 'Annotations/test_000001.xml').write_text('<a>'), 'test_000001.xml is no'),
        (lambda r: replace(r / 'Annotations/test_000001.xml', '</xmin>', '.5</xmin>'), 'whole num'),
        (lambda r: replace(r / 'Annotations/test_000001.xml', 'pose', 'pos'), 'is no annotation'),
        (
            lambda r: [
                replace(r / f'Annotations/test_00000{i}.xml', '<name>dish', '<name>pot')
                for i in (0, 1)
            ],
            r"trainval has no object of \['pot'\]",
        ),
        (
            lambda r: [
                replace(r / f'Annotations/test_00000{i}.xml', 'ult>0<', 'ult>1<') for i in (0, 1)
            ],
            r"test has no object of \['cell', 'dish'\], whose AP",
        ),
    ],
)
def test_refuses_a_voc_folder_that_would_fail_later(spoil, message, voc):
    spoil(voc)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        use_voc(config(), str(voc))


def edit(file, change):
    content = json.loads(Path(file).read_text())
    change(content)
    Path(file).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (lambda r: (r / 'annotations/instances_val2017.json').unlink(), 'there is no .*val2017'),
        (lambda r: Path(jsons(r)[1]).write_text('{'), "not in COCO's format"),
        (lambda r: edit(jsons(r)[1], lambda c: c.pop('categories')), "not in COCO's .*categories"),
        (lambda r: edit(jsons(r)[1], lambda c: c.update(annotations=[])), 'no objects'),
        (
            lambda r: edit(jsons(r)[1], lambda c: c['annotations'][0].update(category_id=5)),
            'unknown categories',
        ),
        (
            lambda r: edit(jsons(r)[1], lambda c: c['categories'][0].update(name='cup')),
            'has other categories than',
        ),
        (lambda r: next((r / 'val2017').iterdir()).unlink(), 'there is no .*--image-root'),
    ],
)
def test_refuses_a_coco_file_that_would_fail_later(spoil, message, coco):
    spoil(coco)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        use_coco(config(), jsons(coco), images(coco))


def test_refuses_coco_splits_that_share_images(coco):
    file = jsons(coco)[0]
    with pytest.raises(ValueError, match='3 images are both in'):
        use_coco(config(), [file, file], images(coco)[:1] * 2)


@pytest.mark.parametrize('name', ['voc_R_50_C4_24k_cdc', 'coco_R_50_C4_2x_cdc'])
def test_refuses_a_missing_data_root(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r'there is no .*set DETECTRON2_DATASETS'):
        check_data(config(name))


def test_refuses_no_or_unknown_data():
    with pytest.raises(ValueError, match='add --voc-root or --coco-json'):
        check_data(config('custom_R_50_C4_quarter'))
    for name, message in (
        ('no_such_set', 'knows no data set no_such_set'),
        ('ade20k_sem_seg_val', 'ade20k_sem_seg_val is neither'),
    ):
        options = ('DATASETS.TRAIN', (name,), 'DATASETS.TEST', (name,))
        with pytest.raises(ValueError, match=message):
            check_data(config('custom_R_50_C4_quarter', *options))
