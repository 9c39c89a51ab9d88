"""Places on a map: near rows are near, also those that t-SNE did not see."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from cdc_mm.folders import project_2d, projection


def blobs(count, seed=0):
    rng = np.random.RandomState(seed)
    labels = rng.randint(3, size=count)
    return 6 * np.eye(3, 60)[labels] + rng.randn(count, 60) * 0.5, labels


def test_groups_stay_together_whether_drawn_or_not(monkeypatch):
    monkeypatch.setattr(projection, 'MAX_FITTED', 120)
    rows, labels = blobs(200)
    places = project_2d(rows, 3)
    assert places.shape == (200, 2) and np.isfinite(places).all()
    near = KNeighborsClassifier(5).fit(places[:100], labels[:100])
    assert near.score(places[100:], labels[100:]) == 1
    np.testing.assert_array_equal(places, project_2d(rows.copy(), 3))
    assert not np.array_equal(places, project_2d(rows, 4))


def test_others_come_to_the_mean_of_their_nearest_drawn_rows(monkeypatch):
    monkeypatch.setattr(projection, 'MAX_FITTED', 60)
    rows, _ = blobs(80)
    rows = rows[:, :20].astype(np.float32)  # fewer columns than components: PCA only rotates
    places = project_2d(rows, 0)
    drawn = np.sort(np.random.RandomState(0).permutation(80)[:60])
    for i in sorted(set(range(80)) - set(drawn)):
        nearest = sorted(drawn, key=lambda j: np.linalg.norm(rows[i] - rows[j]))[:5]
        np.testing.assert_allclose(places[i], places[nearest].mean(axis=0), rtol=1e-4)


@pytest.mark.parametrize('shape', [(0, 5), (1, 5), (3, 5), (4, 5), (7, 1), (9, 2)])
def test_few_rows(shape):
    places = project_2d(np.random.RandomState(0).randn(*shape), 0)
    assert places.shape == (shape[0], 2) and np.isfinite(places).all()
    assert len(np.unique(places, axis=0)) == shape[0]
    again = project_2d(np.random.RandomState(0).randn(*shape), 0)
    np.testing.assert_array_equal(places, again)


def test_equal_rows_and_rows_that_are_none():
    assert np.isfinite(project_2d(np.ones((50, 4)), 0)).all()
    for rows in (np.ones(4), np.full((5, 3), np.nan)):
        with pytest.raises(ValueError, match='finite'):
            project_2d(rows, 0)


def test_equal_rows_do_not_crash_it():
    """t-SNE ends the process where places are not finite."""
    row = np.random.default_rng(0).normal(size=70).astype(np.float32)
    equal = np.tile(row, (12, 1))
    assert np.isfinite(project_2d(equal, 0)).all()
    # The mean of equal values is not quite that value.
    assert equal.std(axis=0).any()
    almost = equal.copy()
    almost[::2] *= np.float32(1 + 1e-7)
    assert np.isfinite(project_2d(almost, 0)).all()
