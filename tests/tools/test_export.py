"""What tools/export.py writes computes what the model does."""

import pickle

import numpy as np
import pytest
import torch
from helpers import CONFIG, SMALL

from cdc_mm import apis


def probabilities(content, file_format, images):
    """By the runtime itself, without a line of the package."""
    if file_format == 'torchscript':
        return torch.jit.load(content)(images).numpy()
    onnxruntime = pytest.importorskip('onnxruntime')
    session = onnxruntime.InferenceSession(content.read_bytes())
    return session.run(None, dict(images=images.numpy()))[0]


@pytest.mark.parametrize('file_format', ['torchscript', 'onnx'])
@pytest.mark.parametrize('to_rgb', [False, True])
def test_an_exported_file_predicts_as_the_test_does(trained, call, tmp_path, file_format, to_rgb):
    if file_format == 'onnx':
        pytest.importorskip('onnxruntime')
        pytest.importorskip('onnxscript')
    checkpoint, out = trained[0] / 'epoch_2.pth', tmp_path / f'x.{file_format}'
    options = (*SMALL, f'data_preprocessor.to_rgb={to_rgb}')
    call('export', CONFIG, checkpoint, '--format', file_format, '--out', out, options=options)
    call('test', CONFIG, checkpoint, '--work-dir', tmp_path, '--out', tmp_path / 'pred.pkl',
         options=options)  # fmt: skip
    predictions = pickle.loads((tmp_path / 'pred.pkl').read_bytes())
    wanted = np.stack([np.asarray(sample['pred_score']) for sample in predictions])
    cfg = apis.read_config(CONFIG)
    images = apis.example_images(cfg, len(wanted))
    assert images.dtype == torch.uint8
    if to_rgb:  # the pipeline's order is then BGR; grey images have but one channel
        images = images.flip(1)
    for batch in (1, 7, len(wanted)):
        got = probabilities(out, file_format, images[:batch])
        np.testing.assert_allclose(got, wanted[:batch], atol=1e-5)


def test_a_file_that_is_not_the_same_is_not_written(trained, call, tmp_path, monkeypatch):
    monkeypatch.setattr(
        apis, 'open_exported', lambda *_: lambda images: torch.zeros(len(images), 10)
    )
    with pytest.raises(SystemExit, match=r'differ by up to .* more than 0\.0001\. Nothing was'):
        call('export', CONFIG, trained[0] / 'epoch_2.pth', '--format', 'torchscript',
             '--out', tmp_path / 'x', options=SMALL)  # fmt: skip
    assert not (tmp_path / 'x').exists()


def test_what_has_no_clusters_is_refused():
    with pytest.raises(ValueError, match='Linear has no clusters of images to export'):
        apis.ImagesToClusters(torch.nn.Linear(2, 2))
