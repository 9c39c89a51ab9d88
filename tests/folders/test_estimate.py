import re

import numpy as np
import pytest
from PIL import Image

from cdc_mm import ImageClusterer
from cdc_mm.folders import estimate


@pytest.fixture
def folder(tmp_path):
    for i, colour in enumerate(np.random.RandomState(0).randint(256, size=(6, 3))):
        Image.fromarray(np.full((16, 16, 3), colour, np.uint8)).save(tmp_path / f'{i}.png')
    return tmp_path


@pytest.fixture
def known(monkeypatch):
    """Times in place of those of this machine: another for each thing that is tried."""
    seconds = dict(an_image=1.0, a_step=0.0, a_pair=0.0, a_trained_image=10.0)
    for name in seconds:
        monkeypatch.setattr(estimate, f'_seconds_{name}', lambda *_, name=name: seconds[name])
    return seconds


def announced(folder, store, **kwargs):
    clusterer = ImageClusterer(2, image_size=32, store_dir=str(store), **kwargs)
    line = estimate.estimate_seconds(clusterer, folder)
    return re.findall(r'\d+ (?:s|min)\b', line)


def test_it_is_the_sum_of_its_parts(folder, tmp_path, known):
    known['an_image'] = 5.0
    assert announced(folder, tmp_path / 'store') == ['35 s', '30 s', '5 s', '5 s']
    # Two epochs of ten seconds an image, a reading in each, and once more by the new network.
    parts = announced(folder, tmp_path / 'store', finetune_epochs=2)
    assert parts == ['4 min', '30 s', '5 s', '4 min', '5 s']


def test_a_network_that_does_not_learn_is_not_tried_as_one(folder, tmp_path, known):
    del known['a_trained_image']
    assert announced(folder, tmp_path / 'store')
    with pytest.raises(KeyError, match='a_trained_image'):
        announced(folder, tmp_path / 'store', finetune_epochs=2)
