import itertools

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix

from cdc_mm.evaluation.functional import (
    cluster_accuracy,
    count_distinct,
    label_metrics,
    many_to_one_accuracy,
    match_clusters,
    size_metrics,
)
from cdc_mm.evaluation.functional.clustering import pair_most


def brute_force_accuracy(labels, clusters):
    """The best one-to-one matching by trying every one."""
    classes, names = sorted(set(labels)), sorted(set(clusters))
    size = max(len(classes), len(names))
    classes += [None] * (size - len(classes))
    return max(
        np.mean([dict(zip(names, order)).get(c) == y for y, c in zip(labels, clusters)])
        for order in itertools.permutations(classes, len(names))
    )


@pytest.mark.parametrize(('num_classes', 'num_clusters'), [(4, 4), (3, 6), (6, 3), (1, 3), (5, 1)])
def test_accuracy_equals_brute_force(num_classes, num_clusters):
    rng = np.random.RandomState(num_classes)
    for _ in range(5):
        labels = rng.randint(num_classes, size=40)
        clusters = np.where(
            rng.rand(40) < 0.5, labels % num_clusters, rng.randint(num_clusters, size=40)
        )
        expected = brute_force_accuracy(labels.tolist(), clusters.tolist())
        assert cluster_accuracy(labels, clusters) == pytest.approx(expected)


def test_matching_pairs_classes_with_clusters():
    labels, clusters = np.array([3, 3, 7, 7, 9]), np.array([1, 1, 0, 0, 4])
    classes, matched = match_clusters(labels, clusters)
    assert dict(zip(classes.tolist(), matched.tolist(), strict=True)) == {3: 1, 7: 0, 9: 4}


@pytest.mark.parametrize('shape', [(40, 40), (12, 30), (30, 12), (1, 5), (3, 1)])
@pytest.mark.parametrize('share', [0.0, 0.1, 0.7])
def test_pairs_of_a_sparse_table_equal_scipys_of_the_dense_one(shape, share):
    rng = np.random.RandomState(3)
    table = rng.randint(1, 50, size=shape) * (rng.rand(*shape) < share)
    rows, columns = pair_most(csr_matrix(table))
    best = table[linear_sum_assignment(table, maximize=True)].sum()
    assert table[rows, columns].sum() == best
    assert len(rows) == len(set(columns)) == min(shape)
    assert (np.diff(rows) > 0).all()


def test_many_to_one_counts_the_majority_of_each_cluster():
    labels, clusters = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1, 1, 2, 2, 1])
    assert many_to_one_accuracy(labels, clusters) == pytest.approx(5 / 6)


def test_label_metrics_are_percentages_and_invariant_to_names():
    rng = np.random.RandomState(0)
    labels = rng.randint(5, size=200)
    perfect = label_metrics(labels, (labels + 2) % 5, 5)
    assert perfect == pytest.approx(dict(acc=100, nmi=100, ari=100))
    noise = label_metrics(labels, rng.randint(5, size=200), 5)
    assert noise['acc'] < 40 and abs(noise['ari']) < 5


def test_many_to_one_is_added_when_k_differs_from_the_classes():
    labels = np.array([0, 0, 1, 1])
    result = label_metrics(labels, np.array([0, 1, 2, 2]), 3)
    assert result['acc'] == 75 and result['many_to_one_acc'] == 100
    assert 'many_to_one_acc' not in label_metrics(labels, labels, 2)


def test_size_metrics():
    result = size_metrics(np.array([0, 0, 0, 2]), 4)
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25)) / np.log(4)
    assert result['cluster_sizes'] == [3, 0, 1, 0]
    assert result['empty_clusters'] == 2
    assert result['largest_share'] == 75
    assert result['size_entropy'] == pytest.approx(entropy)
    assert size_metrics(np.arange(4), 4)['size_entropy'] == pytest.approx(1)


def test_distinct_rows_are_counted_until_there_are_enough():
    rng = np.random.RandomState(0)
    rows = rng.randint(3, size=(9000, 2)).astype(np.float32) - 1
    rows[rng.rand(9000) < 0.5] *= -1  # has -0.0 and 0.0
    assert count_distinct(rows, 100) == len(np.unique(rows, axis=0)) == 9
    assert 4 <= count_distinct(rows, 4) <= 9
    late = np.repeat(np.arange(2.0)[:, None], 5000, axis=0)
    assert count_distinct(late, 5) == 2
