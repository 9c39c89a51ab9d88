import numpy as np
import pytest
import torch

from cdc_mm.models.layers import PrincipalComponents


def test_equals_a_plain_eigen_decomposition():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 3)) @ rng.normal(size=(3, 6)) + 0.1 * rng.normal(size=(50, 6)) + 7
    layer = PrincipalComponents(6, 2)
    layer.fit(rows)
    z = (rows - rows.mean(0)) / rows.std(0)
    variances, vectors = np.linalg.eigh(np.cov(z.T))
    expected = z @ vectors[:, ::-1][:, :2]
    found = layer(torch.tensor(rows, dtype=torch.float32)).numpy()
    # One factor for all, so that variances keep their ratio.
    assert found.var(0)[0] / found.var(0)[1] == pytest.approx(variances[-1] / variances[-2], 1e-3)
    assert np.square(found).mean() == pytest.approx(1, 1e-4)
    for own, other in zip(found.T, expected.T, strict=True):
        assert abs(np.corrcoef(own, other)[0, 1]) == pytest.approx(1, abs=1e-5)


def test_few_rows_have_few_components():
    rows = np.random.default_rng(0).normal(size=(3, 6))
    layer = PrincipalComponents(6, 5)
    layer.fit(rows)
    found = layer(torch.tensor(rows, dtype=torch.float32))
    assert (found[:, :2].abs().sum(dim=0) > 0).all() and (found[:, 2:] == 0).all()


def test_a_constant_channel_does_no_harm():
    rows = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    rows[:, 1] = 5
    layer = PrincipalComponents(4, 3)
    layer.fit(rows)
    assert torch.isfinite(layer(torch.from_numpy(rows))).all()
    torch.testing.assert_close(layer.weight[:, 1], torch.zeros(3), rtol=0, atol=1e-6)


def test_refusals():
    for count in (0, 7):
        with pytest.raises(ValueError, match=f'from 1 to the width of the rows, 6, got {count}'):
            PrincipalComponents(6, count)
    with pytest.raises(ValueError, match='1 rows have no principal components'):
        PrincipalComponents(6, 2).fit(np.ones((1, 6)))
    with pytest.raises(ValueError, match='all rows are alike'):
        PrincipalComponents(6, 2).fit(np.ones((5, 6)))
    with pytest.raises(RuntimeError, match='are not known'):
        PrincipalComponents(6, 2).update(torch.ones(2, 6))
