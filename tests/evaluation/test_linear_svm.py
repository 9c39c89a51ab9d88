import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.metrics import average_precision_score

from cdc_mm.evaluation.functional import (
    class_average_precisions,
    low_shot_rows,
    svm_scores,
)


@pytest.fixture
def data():
    rng = np.random.RandomState(0)
    targets = (rng.rand(120, 3) < [0.5, 0.3, 0.2]).astype(int)
    rows = (targets @ rng.randn(3, 10) + rng.randn(120, 10)).astype(np.float32)
    return rows[:80], targets[:80], rows[80:], targets[80:]


def test_solves_the_svm_of_the_protocol(data):
    train, targets, test, _ = data
    unit = [rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-5) for rows in (train, test)]
    with_bias = [np.hstack([rows, np.ones((len(rows), 1))]) for rows in unit]
    scores = svm_scores(train, targets, test)
    for c in range(3):
        sign = np.where(targets[:, c], 1, -1)
        weight = 0.5 * np.where(targets[:, c], 2, 1)

        def objective(w, sign=sign, weight=weight):
            slack = np.maximum(0, 1 - sign * (with_bias[0] @ w))
            return 0.5 * w @ w + weight @ slack**2

        w = minimize(objective, np.zeros(11), method='L-BFGS-B', options=dict(ftol=1e-14)).x
        np.testing.assert_allclose(scores[:, c], with_bias[1] @ w, atol=2e-3)


def test_mean_average_precision_is_that_of_scikit_learn_but_for_interpolation(data):
    train, targets, test, test_targets = data
    scores = svm_scores(train, targets, test)
    ours = class_average_precisions(test_targets, scores)
    plain = average_precision_score(test_targets, scores, average=None)
    assert np.all(ours >= plain) and np.abs(ours - plain).max() < 0.1
    assert plain.mean() > test_targets.mean() + 0.2


def test_a_class_without_contrast_gets_a_constant(data):
    train, targets, test, _ = data
    targets = targets.copy()
    targets[:, 0], targets[:, 1] = 0, 1
    scores = svm_scores(train, targets, test)
    assert np.all(scores[:, 0] == -1) and np.all(scores[:, 1] == 1)
    assert len(np.unique(scores[:, 2])) > 1


def test_low_shot_draws_k_of_each_class():
    targets = np.array([[1, 0], [1, 0], [1, 1], [0, 1], [0, 0]])
    rng = np.random.RandomState(0)
    draws = [low_shot_rows(targets, 2, rng) for _ in range(20)]
    for rows in draws:
        assert targets[rows[:2], 0].all() and targets[rows[2:], 1].all()
        assert len(set(rows[:2])) == 2 and sorted(rows[2:]) == [2, 3]
    assert len({tuple(rows) for rows in draws}) > 3
    assert len(low_shot_rows(targets, 4, rng)) == 5  # a class with fewer gives all
