"""mmpretrain's functions and inferencers take this project's configs and checkpoints."""

import cv2
import numpy as np
import pytest
import torch
from helpers import CONFIG, ROOT
from mmengine.config import Config
from mmpretrain import FeatureExtractor, ImageClassificationInferencer, get_model
from mmpretrain.registry import DATASETS, MODELS

SMALL_FOLDER = f"""
_base_ = '{ROOT}/configs/cdc_r18_folder.py'
model = dict(backbone=dict(stem_channels=4, base_channels=4), neck=dict(in_channels=32))
"""


@pytest.fixture(params=['digits', 'self_label', 'folder'])
def setting(request, tmp_path):
    """A config file, a checkpoint of it, an image and what is expected of it."""
    if request.param == 'folder':
        config = tmp_path / 'folder.py'
        config.write_text(SMALL_FOLDER)
    else:
        name = dict(digits=CONFIG, self_label='configs/selflabel/selflabel_digits.py')
        config = ROOT / name[request.param]
    cfg = Config.fromfile(config)
    torch.manual_seed(3)
    model = MODELS.build({'data_preprocessor': cfg.get('data_preprocessor'), **cfg.model}).eval()
    checkpoint = tmp_path / 'x.pth'
    torch.save(dict(state_dict=model.state_dict(), meta={}), checkpoint)
    if request.param == 'folder':
        image = str(tmp_path / 'images' / 'x.png')  # no loss, so that two readers agree
        (tmp_path / 'images').mkdir()
        cv2.imwrite(image, np.random.RandomState(0).randint(256, size=(150, 200, 3)))
        cfg.test_dataloader.dataset.data_root = str(tmp_path / 'images')
        sample = DATASETS.build(cfg.test_dataloader.dataset)[0]
    else:
        sample = DATASETS.build(cfg.test_dataloader.dataset)[0]
        image = sample['inputs'].permute(1, 2, 0).numpy()
    batch = dict(inputs=sample['inputs'][None], data_samples=[sample['data_samples']])
    with torch.no_grad():
        inputs = model.data_preprocessor(batch, False)['inputs']
        expected = model.predict(inputs)[0].pred_score, model.extract_feat(inputs)[0][0]
    return str(config), str(checkpoint), image, expected


def test_get_model(setting):
    config, checkpoint, _, _ = setting
    model = get_model(config, pretrained=checkpoint)
    state = torch.load(checkpoint, weights_only=True)['state_dict']
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_inferencers(setting):
    config, checkpoint, image, (scores, features) = setting
    result = ImageClassificationInferencer(config, pretrained=checkpoint)(image)[0]
    np.testing.assert_allclose(result['pred_scores'], scores, rtol=1e-5)
    assert result['pred_label'] == int(scores.argmax())
    found = FeatureExtractor(config, pretrained=checkpoint)(image)[0][0]
    torch.testing.assert_close(found, features)
