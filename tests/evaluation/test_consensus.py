import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from cdc_mm.evaluation.functional import consensus

N, K, V = 300, 5, 7


def voters(noise, seed=0):
    """Clusterings of the same images under numbers of their own, a share of them at random."""
    rng = np.random.RandomState(seed)
    truth = rng.randint(K, size=N)
    orders = np.stack([rng.permutation(K) for _ in range(V)])
    probabilities = np.empty((V, N, K), np.float32)
    for order, own in zip(orders, probabilities, strict=True):
        labels = np.where(rng.rand(N) < noise, rng.randint(K, size=N), truth)
        own[:] = 0.05 + 0.75 * np.eye(K)[order[labels]]
    return truth, orders, probabilities


def test_finds_the_order_of_each():
    truth, orders, probabilities = voters(noise=0.3)
    labels, found = consensus(probabilities)
    # The number of a common cluster is any; under it each voter has its own.
    number = {k: np.bincount(truth[labels == k]).argmax() for k in range(K)}
    assert sorted(number.values()) == list(range(K))
    for order, own in zip(orders, found, strict=True):
        assert [own[k] for k in range(K)] == [order[number[k]] for k in range(K)]


def test_together_they_are_better_than_each():
    truth, _, probabilities = voters(noise=0.4)
    labels, orders = consensus(probabilities)
    alone = [adjusted_rand_score(truth, own.argmax(axis=1)) for own in probabilities]
    assert adjusted_rand_score(truth, labels) > max(alone) + 0.2
    # What they say together is the mean of what they say in the common order.
    mean = sum(own[:, order] for own, order in zip(probabilities, orders, strict=True))
    np.testing.assert_array_equal(labels, mean.argmax(axis=1))


def test_of_one_is_its_own_clustering():
    truth, orders, probabilities = voters(noise=0)
    labels, found = consensus(probabilities[:1])
    assert adjusted_rand_score(labels, truth) == pytest.approx(1)
    np.testing.assert_array_equal(found[0][labels], orders[0][truth])
