"""Where CDC begins on a clustered folder."""

import numpy as np
from sklearn.datasets import make_blobs
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from cdc_mm.folders.finetuning import start_neck


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
