import pickle

import generated
import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.data.detection_utils import annotations_to_instances
from detectron2.modeling import build_model
from detectron2.structures import BitMasks, Instances
from helpers import ROOT
from mmpretrain.registry import MODELS

from cdc_mm.detection import convert_checkpoint
from cdc_mm.detection.config import load_config
from cdc_mm.detection.datasets import use_coco, use_voc
from cdc_mm.detection.trainer import Trainer, load_pretrained

EIGHTH = (
    'MODEL.RESNETS.STEM_OUT_CHANNELS', 8, 'MODEL.RESNETS.RES2_OUT_CHANNELS', 32,
    'MODEL.RESNETS.WIDTH_PER_GROUP', 8,
)  # fmt: skip


def config(name, *options):
    return load_config(str(ROOT / f'configs/detection/{name}.yaml'), EIGHTH + options)


@pytest.fixture
def pretrained(tmp_path):
    """Content of a converted ResNet-50 with an eighth of the channels."""
    cfg = dict(type='ResNet', depth=50, stem_channels=8, base_channels=8)
    torch.save(MODELS.build(cfg).state_dict(), tmp_path / 'x.pth')
    convert_checkpoint(str(tmp_path / 'x.pth'), str(tmp_path / 'x.pkl'))
    return pickle.loads((tmp_path / 'x.pkl').read_bytes())


def write(tmp_path, content):
    path = tmp_path / 'given.pkl'
    path.write_bytes(pickle.dumps(content))
    return str(path)


@pytest.mark.parametrize('name', ['voc_R_50_C4_24k_cdc', 'coco_R_50_FPN_2x_cdc'])
def test_fills_the_backbone_of_either_detector(name, pretrained, tmp_path, caplog):
    model = build_model(config(name))
    with caplog.at_level('INFO', logger='cdc_mm.detection'):
        load_pretrained(model, write(tmp_path, pretrained))
    assert "53 of the backbone's 53 convolutions and norms come from" in caplog.text
    state = model.state_dict()
    for name, value in pretrained['model'].items():
        (own,) = [k for k in state if k.endswith(f'.{name}')]
        np.testing.assert_array_equal(state[own], value)


def caffe2_name(name):
    """The name that detectron2's own ImageNet files give a weight."""
    stage, *rest = name.split('.')
    *layer, kind = rest
    norm = layer[-1:] == ['norm']
    layer = layer[:-1] if norm else layer
    if stage == 'stem':
        prefix = 'res_conv1_bn' if norm else 'conv1'
    else:
        branch = dict(shortcut='1', conv1='2a', conv2='2b', conv3='2c')[layer[1]]
        prefix = f'{stage}_{layer[0]}_branch{branch}' + ('_bn' if norm else '')
    return f'{prefix}_{dict(weight="s" if norm else "w", bias="b")[kind]}'


def test_accepts_the_files_that_detectron2_ships(pretrained, tmp_path):
    """In Caffe2's names, with the statistics of the norms merged into their weights."""
    weights = {caffe2_name(k): v for k, v in pretrained['model'].items() if 'running' not in k}
    assert len(weights) == 159
    model = build_model(config('voc_R_50_C4_24k_supervised'))
    load_pretrained(model, write(tmp_path, weights))
    value = weights['res5_0_branch2a_w']
    np.testing.assert_array_equal(model.roi_heads.res5[0].conv1.weight.detach(), value)


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (lambda m: m.pop('res5.2.conv3.norm.weight'), "52 of the backbone's 53 .*res5.2.conv3"),
        (
            lambda m: m.update({'stem.conv1.weight': np.ones((4, 3, 7, 7), np.float32)}),
            "52 of the backbone's 53 .*stem.conv1",
        ),
        (
            lambda m: [m.update({f'encoder.{k}.x': m.pop(k)}) for k in list(m)],
            "0 of the backbone's 53",
        ),
    ],
)
def test_refuses_to_start_in_part_from_scratch(spoil, message, pretrained, tmp_path):
    spoil(pretrained['model'])
    model = build_model(config('voc_R_50_C4_24k_cdc'))
    with pytest.raises(ValueError, match=message):
        load_pretrained(model, write(tmp_path, pretrained))


def test_refuses_to_start_without_a_file():
    with pytest.raises(ValueError, match="no checkpoint fills 0 of the backbone's 53"):
        load_pretrained(build_model(config('voc_R_50_C4_24k_cdc')), '')


@pytest.mark.parametrize('content', [b'', b'no pickle', pickle.dumps([1])])
@pytest.mark.parametrize('ending', ['pkl', 'pth'])
def test_refuses_a_corrupt_file(content, ending, tmp_path):
    path = tmp_path / f'x.{ending}'
    path.write_bytes(content)
    with pytest.raises((ValueError, RuntimeError), match=rf'x\.{ending} is damaged'):
        load_pretrained(build_model(config('voc_R_50_C4_24k_cdc')), str(path))


def test_the_roi_head_ends_with_a_norm():
    model = build_model(config('voc_R_50_C4_24k_cdc')).train()
    res5 = model.roi_heads.res5
    assert [name for name, _ in res5.named_children()] == ['0', '1', '2', 'norm']
    torch.nn.init.uniform_(res5.norm.weight)
    features = torch.randn(4, 128, 14, 14)
    expected = res5[2](res5[1](res5[0](features)))
    mean = expected.mean((0, 2, 3), keepdim=True)
    variance = expected.var((0, 2, 3), unbiased=False, keepdim=True)
    scale = res5.norm.weight[:, None, None]
    expected = (expected - mean) / (variance + 1e-5).sqrt() * scale
    torch.testing.assert_close(res5(features), expected, atol=1e-4, rtol=1e-4)


def truth_as_predictions(record, masks):
    size = record['height'], record['width']
    truth = annotations_to_instances(record['annotations'], size)
    predictions = Instances(size, pred_boxes=truth.gt_boxes, pred_classes=truth.gt_classes)
    predictions.scores = torch.linspace(1, 0.5, len(truth))
    if masks:
        polygons = truth.gt_masks.polygons
        predictions.pred_masks = BitMasks.from_polygon_masks(polygons, *size).tensor
    return dict(instances=predictions)


@pytest.mark.parametrize('kind', ['coco', 'voc'])
def test_the_truth_as_predictions_scores_100(kind, tmp_path):
    if kind == 'coco':
        categories = [dict(id=3, name='cell'), dict(id=7, name='dish')]
        root = generated.coco_detection(tmp_path / 'own', categories)
        cfg = config('coco_R_50_C4_2x_cdc', 'OUTPUT_DIR', str(tmp_path))
        files = [root / f'annotations/instances_{s}2017.json' for s in ('train', 'val')]
        use_coco(cfg, list(map(str, files)), [str(root / f'{s}2017') for s in ('train', 'val')])
    else:
        root = generated.voc_detection(tmp_path / 'own', ['cell', 'dish'], train=2, val=3)
        cfg = config('voc_R_50_C4_24k_cdc', 'OUTPUT_DIR', str(tmp_path))
        use_voc(cfg, str(root))
    (name,) = cfg.DATASETS.TEST
    records = DatasetCatalog.get(name)
    predictions = [truth_as_predictions(record, kind == 'coco') for record in records]
    evaluator = Trainer.build_evaluator(cfg, name)
    evaluator.reset()
    evaluator.process(records, predictions)
    results = evaluator.evaluate()
    assert set(results) == ({'bbox', 'segm'} if kind == 'coco' else {'bbox'})
    for task in results.values():
        for metric in ('AP', 'AP50', 'AP75'):
            assert task[metric] == pytest.approx(100, abs=0.1), metric

    # Half of the truth finds half of it.
    evaluator.reset()
    evaluator.process(records, [dict(instances=p['instances'][:1]) for p in predictions])
    for task in evaluator.evaluate().values():
        assert 20 < task['AP'] < 80
