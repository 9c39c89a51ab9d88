import itertools

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from cdc_mm.evaluation.functional import (
    alignment,
    category_similarity,
    pair_similarity,
    uniformity,
)


def unit_rows(count, width, seed=0):
    x = np.random.RandomState(seed).randn(count, width) + 0.3
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize('width', [3, 20, 100])  # wider and narrower than a class and than all
def test_categories_agree_with_a_loop_over_all_pairs(width):
    x, labels = unit_rows(60, width), np.random.RandomState(1).randint(4, size=60)
    dots = {True: [], False: []}
    for i, j in itertools.combinations(range(60), 2):
        dots[labels[i] == labels[j]].append(float(x[i].astype(np.float64) @ x[j]))
    result = category_similarity(x, labels)
    for name, same in (('same', True), ('different', False)):
        mean, std, count = result[name]
        assert count == len(dots[same])
        assert mean == pytest.approx(np.mean(dots[same]), abs=1e-12)
        assert std == pytest.approx(np.std(dots[same]), abs=1e-9)


def test_categories_without_a_pair_are_nan():
    mean, std, count = category_similarity(unit_rows(3, 4), np.arange(3))['same']
    assert np.isnan(mean) and np.isnan(std) and count == 0
    mean, std, count = category_similarity(unit_rows(3, 4), np.zeros(3, int))['different']
    assert np.isnan(mean) and count == 0


def test_equal_rows_have_no_deviation():
    x = np.repeat(unit_rows(1, 5), 10, axis=0)
    mean, std, _ = category_similarity(x, np.zeros(10, int))['same']
    assert mean == pytest.approx(1) and std == pytest.approx(0, abs=1e-7)


def test_pairs():
    x, y = unit_rows(30, 6), unit_rows(30, 6, seed=2)
    dots = [float(a.astype(np.float64) @ b) for a, b in zip(x, y, strict=True)]
    assert pair_similarity(x, y) == pytest.approx((np.mean(dots), np.std(dots), 30))


def test_alignment_is_the_mean_squared_distance():
    x, y = unit_rows(30, 6), unit_rows(30, 6, seed=2)
    expected = np.mean([np.linalg.norm(a - b) ** 2 for a, b in zip(x, y, strict=True)])
    assert alignment(x, y) == pytest.approx(expected)
    assert alignment(x, x) == 0
    assert alignment(x, -x) == pytest.approx(4)


@pytest.mark.parametrize('chunk', [1, 7, 50, 1024])
def test_uniformity_as_wang_and_isola_write_it(chunk):
    x = unit_rows(50, 6)
    expected = np.log(np.exp(-2 * pdist(x.astype(np.float64)) ** 2).mean())
    assert uniformity(x, chunk) == pytest.approx(expected, abs=1e-12)


def test_uniformity_of_extremes():
    assert uniformity(np.repeat(unit_rows(1, 5), 4, axis=0)) == pytest.approx(0, abs=1e-6)
    assert uniformity(np.array([[1.0, 0.0], [-1.0, 0.0]])) == pytest.approx(-8)
