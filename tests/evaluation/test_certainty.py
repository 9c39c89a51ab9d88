"""Label-free figures against plain loops and scikit-learn's own functions."""

import itertools

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import adjusted_rand_score, balanced_accuracy_score, silhouette_samples
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from cdc_mm.evaluation.functional import (
    agreement,
    cluster_stability,
    linear_consistency,
    silhouette,
)

RNG = np.random.RandomState(0)
PARTITIONS = [RNG.randint(4, size=60) for _ in range(3)]
PARTITIONS.append(np.where(RNG.rand(60) < 0.8, PARTITIONS[0], 3))
X, Y = load_digits(return_X_y=True)


def test_agreement_is_the_mean_over_all_pairs():
    result = agreement(PARTITIONS)
    pairs = list(itertools.combinations(range(4), 2))
    values = {pair: adjusted_rand_score(*(PARTITIONS[i] for i in pair)) for pair in pairs}
    assert result.mean() == pytest.approx(np.mean(list(values.values())))
    for i in range(4):
        assert result[i] == pytest.approx(np.mean([v for p, v in values.items() if i in p]))
    assert result.argmax() in (0, 3)
    renamed = agreement([PARTITIONS[0], 3 - PARTITIONS[0]])
    np.testing.assert_allclose(renamed, 1)


def test_one_cluster_agrees_with_none():
    one = np.zeros(60, dtype=int)
    np.testing.assert_array_equal(agreement([one, one]), 0)
    assert agreement([one, PARTITIONS[0], PARTITIONS[0]])[1] == pytest.approx(0.5)


def test_stability_equals_a_loop_over_sets():
    reference, others = PARTITIONS[0].copy(), PARTITIONS[1:]
    reference[reference == 2] = 3  # an empty cluster
    result = cluster_stability(reference, others, 5)
    sets = [set(np.flatnonzero(reference == k)) for k in range(5)]
    for k, members in enumerate(sets):
        best = [
            max(len(members & other) / len(members | other) for other in found)
            for found in ([set(np.flatnonzero(p == c)) for c in np.unique(p)] for p in others)
        ]
        assert result[k] == pytest.approx(np.mean(best) if members else 0)
    np.testing.assert_array_equal(cluster_stability(reference, [reference], 5), [1, 1, 0, 1, 0])


@pytest.mark.parametrize('function', [agreement, lambda p: cluster_stability(p[0], p[1:], 4)])
def test_refuses_what_cannot_be_compared(function):
    with pytest.raises(ValueError, match='alone'):
        function(PARTITIONS[:1])
    with pytest.raises(ValueError, match=r'the same samples, got \[59, 60\]'):
        function([PARTITIONS[0], PARTITIONS[1][:-1]])


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_linear_consistency_is_balanced_cross_validated_accuracy():
    x, y = X[:300], Y[:300].copy()
    y[y > 6] = 1  # sizes differ
    splits = StratifiedKFold(5, shuffle=True, random_state=0)
    found = cross_val_predict(RidgeClassifier(), unit(x).astype(np.float32), y, cv=splits)
    expected = balanced_accuracy_score(y, found)
    assert 0.5 < expected < 0.99
    assert linear_consistency(x, y, 7) == pytest.approx(expected, abs=1e-6)
    # Clusters without enough images for the folds are missed, not left out of the mean.
    y[np.flatnonzero(y == 6)[4:]] = 1
    assert linear_consistency(x, y, 8) < expected


def test_good_clusters_are_more_consistent_than_bad_ones():
    bad = np.where(np.random.RandomState(0).rand(len(Y)) < 0.3, (Y + 1) % 10, Y)
    assert linear_consistency(X, Y, 10) > linear_consistency(X, bad, 10) + 0.1
    assert silhouette(X, Y) > silhouette(X, bad) + 0.02


def test_one_large_cluster_is_not_consistent():
    clusters = np.zeros(len(Y), dtype=int)
    assert linear_consistency(X, clusters, 10) == 0 and silhouette(X, clusters) == -1
    clusters[0] = 1
    assert linear_consistency(X, clusters, 10) == 0
    clusters[Y == 0] = 1
    assert linear_consistency(X, clusters, 10) < 0.21


def test_silhouette_equals_scikit_learns_mean():
    x, y = X[:200], Y[:200]
    expected = silhouette_samples(unit(x), y, metric='cosine').mean()
    assert silhouette(x, y) == pytest.approx(expected, abs=1e-5)
    assert silhouette(x * np.linspace(1, 9, 200)[:, None], y) == pytest.approx(expected, abs=1e-5)
    assert silhouette(x, np.arange(200)) == -1


@pytest.mark.parametrize('function', [silhouette, lambda *a, **k: linear_consistency(*a, 10, **k)])
def test_rows_are_bounded_drawn_by_seed_and_checked(function):
    drawn = [function(X, Y, max_rows=300, seed=seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert function(X, Y, max_rows=len(X)) == function(X, Y, max_rows=5000)
    with pytest.raises(ValueError, match='not finite'):
        function(np.where(X > 15, np.nan, X), Y)
    with pytest.raises(ValueError, match=r'rows \(1797, 64\) do not belong to 1796'):
        function(X, Y[:-1])
