"""The page of any trained clusterer."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from cdc_mm.folders import model_report, report_model


class Pictures:
    """Grey 8x8 pictures of a brightness each; the last two are files that are gone."""

    def __init__(self, count):
        self.values = np.linspace(0, 255, count).astype(np.uint8)

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        return torch.full((1, 8, 8), float(self.values[index]))

    def get_data_info(self, index):
        if index >= len(self) - 2:
            return dict(img_path=f'gone/{index}.png')
        return dict(img=np.full((8, 8, 1), self.values[index], np.uint8))


class ByBrightness(nn.Module):
    def data_preprocessor(self, data, training):
        assert not training
        return dict(inputs=data / 255)

    def encode(self, inputs):
        mean = inputs.mean(dim=(1, 2, 3))
        return torch.stack([1 - mean, mean], dim=1)

    def scores(self, rows):
        return 10 * rows


def test_the_page_has_what_the_model_says(tmp_path, monkeypatch):
    written = {}
    write = model_report.write_report

    def spy(path, assignments, **rest):
        written.update(rest, assignments=assignments)
        return write(path, assignments, **rest)

    monkeypatch.setattr(model_report, 'write_report', spy)
    model = ByBrightness().train()
    loader = DataLoader(Pictures(21), batch_size=4)
    page = tmp_path / 'report.html'
    report_model(model, loader, page, 'Shades', sureness=dict(silhouette=0.5))
    assert model.training
    found = written['assignments']
    values = loader.dataset.values / 255.0
    assert np.array_equal(found.cluster, values > 0.5)
    dark = 1 / (1 + np.exp(10 * (2 * values - 1)))
    assert found.confidence == pytest.approx(np.maximum(dark, 1 - dark), abs=1e-5)
    rows = np.stack([1 - values, values], axis=1)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    for k in range(2):
        own = found.cluster == k
        away = np.linalg.norm(rows[own] - rows[own].mean(axis=0), axis=1)
        assert found.distance[own] == pytest.approx(away, abs=1e-5)
    assert found.paths[3] == 'image 3' and found.paths[-1] == 'gone/20.png'
    # Small pictures are shown large, pixel by pixel.
    picture = written['thumbnail'](20 - 2)
    assert (
        picture.size == (64, 64) and picture.getpixel((63, 0)) == (loader.dataset.values[18],) * 3
    )
    text = page.read_text()
    assert 'Shades' in text and 'image 3' in text and 'Silhouette' in text
