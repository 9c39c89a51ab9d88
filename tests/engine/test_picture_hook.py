from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmpretrain.structures import DataSample
from torch import nn

from cdc_mm.engine.hooks import PictureHook


def make_runner(to_rgb, **attributes):
    model = nn.Identity()
    model.data_preprocessor = SimpleNamespace(_channel_conversion=to_rgb)
    for name, value in attributes.items():
        setattr(model, name, value)
    return SimpleNamespace(model=model, logger=MMLogger.get_current_instance())


def make_samples(paths):
    samples = []
    for i, path in enumerate(paths):
        sample = DataSample(metainfo=dict(sample_idx=i, ori_shape=(32, 32), img_path=path))
        samples.append(sample.set_pred_score(torch.tensor([0.03, 0.97])).set_pred_label(1))
    return samples


@pytest.mark.parametrize('to_rgb', [True, False])
def test_colours_are_right_and_small_images_are_enlarged(tmp_path, to_rgb):
    # Red, in the order of channels that the data set gives.
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    image[2 if to_rgb else 0] = 255
    hook = PictureHook(out_dir=str(tmp_path))
    batch = dict(inputs=image[None])
    hook.after_test_iter(make_runner(to_rgb, num_clusters=2), 0, batch, make_samples(['a/x.jpg']))
    picture = cv2.imread(str(tmp_path / '000000_x.png'))[..., ::-1]
    assert picture.shape[1] == 256 and picture.shape[0] > 256
    assert (picture[:256] == [255, 0, 0]).all()
    strip = picture[256:]
    assert (strip == 255).mean() > 0.7 and (strip < 64).any()  # dark letters on white


def test_images_of_one_name_do_not_overwrite_each_other(tmp_path):
    hook = PictureHook(out_dir=str(tmp_path), interval=2)
    batch = dict(inputs=torch.zeros(5, 3, 8, 8, dtype=torch.uint8))
    samples = make_samples([f'{folder}/x.jpg' for folder in 'abcde'])
    samples[4].set_metainfo(dict(ori_shape=(0, 0)))  # could not be read
    hook.after_test_iter(make_runner(True), 0, batch, samples)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['000000_x.png', '000002_x.png']


def test_the_caption_says_what_is_predicted(tmp_path, monkeypatch):
    captions = []

    def draw(image, caption):
        captions.append(caption)
        return np.zeros((4, 4, 3), np.uint8)

    monkeypatch.setattr('cdc_mm.engine.hooks.picture_hook.draw_caption', draw)
    batch = dict(inputs=torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    for runner in (make_runner(True, num_clusters=2), make_runner(True)):
        PictureHook(out_dir=str(tmp_path)).after_test_iter(runner, 0, batch, make_samples(['x']))
    assert captions == ['cluster 1 (0.97)', 'class 1 (0.97)']


def test_interval_is_checked():
    with pytest.raises(ValueError, match='interval must be at least 1, got 0'):
        PictureHook(interval=0)
