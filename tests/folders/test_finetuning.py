"""The network of a clustered folder learns, too."""

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from PIL import Image
from sklearn.datasets import make_blobs
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from cdc_mm.folders.finetuning import finetune, start_neck


def test_starts_from_the_clusters_and_the_principal_components():
    rows, clusters = make_blobs(90, n_features=12, centers=3, random_state=0)
    weight, bias = start_neck(rows, clusters, 3, 5)
    assert weight.shape == (8, 12) and weight.dtype == bias.dtype == np.float32
    z = rows @ weight.T + bias
    components = PCA(12).fit(rows)
    shrinkage = 0.1 * np.square(components.singular_values_).sum() / 12
    expected = make_pipeline(PCA(12), Ridge(shrinkage)).fit(rows, np.eye(3)[clusters]).predict(rows)
    np.testing.assert_allclose(z[:, :3], expected - 1 / 3, atol=1e-4)
    # Up to the signs of components.
    np.testing.assert_allclose(abs(z[:, 3:]), abs(components.transform(rows)[:, :5]), atol=1e-3)


def test_few_rows_have_as_many_components_as_they_can():
    rows = np.random.default_rng(0).normal(size=(4, 12))
    weight, bias = start_neck(rows, np.array([0, 1, 2, 0]), 3, 3)
    z = rows @ weight.T + bias
    assert z.shape == (4, 6) and z[:, :3].argmax(axis=1).tolist() == [0, 1, 2, 0]


class StartAndEnd(Hook):
    """Keeps the weights that training starts from and those that it ends with."""

    def before_train(self, runner):
        self.start = {name: value.clone() for name, value in runner.model.state_dict().items()}

    def after_train(self, runner):
        self.end = {name: value.clone() for name, value in runner.model.state_dict().items()}


def test_starts_from_both_in_either_encoder_and_ends_halfway(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(6):
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(
            tmp_path / f'{i}.png'
        )
    init_default_scope('mmpretrain')
    config = dict(type='EfficientNetLite', variant=0, freeze=True, mirror=True)
    encoder = MODELS.build(config)
    torch.nn.init.constant_(encoder.backbone.conv_head.weight, 0.01)  # not as it was released
    rows = rng.normal(size=(5, encoder.feat_dim)).astype(np.float32)
    clusters = np.array([0, 1, 2, 0, 1])
    seen = StartAndEnd()
    (tmp_path / 'run').mkdir()
    paths = [str(tmp_path / f'{i}.png') for i in range(5)]
    found = finetune(
        encoder, config, rows, clusters, 3, tmp_path, paths, 1, 32, 0, 0, tmp_path / 'run', seen
    )
    weight, bias = start_neck(rows, clusters, 3, 4)
    for part in ('', 'momentum_encoder.'):
        np.testing.assert_array_equal(seen.start[f'{part}neck.fc.weight'], weight)
        np.testing.assert_array_equal(seen.start[f'{part}neck.fc.bias'], bias)
        for name, value in encoder.state_dict().items():
            assert torch.equal(seen.start[f'{part}encoder.{name}'], value), name
    assert found.frozen and not found.training
    assert all(not p.requires_grad for p in found.parameters())
    moved = 0
    for name, value in found.state_dict().items():
        before, after = encoder.state_dict()[name], seen.end[f'encoder.{name}']
        mean = (before.double() + after.double()) / 2
        torch.testing.assert_close(value.double(), mean, atol=1e-7, rtol=1e-6)
        moved += not torch.equal(before, after)
    assert moved > 50
