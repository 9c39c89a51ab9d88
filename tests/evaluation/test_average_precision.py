import numpy as np
import pytest
import torch
from mmpretrain.registry import METRICS
from mmpretrain.structures import DataSample
from sklearn.metrics import average_precision_score

from cdc_mm.evaluation.functional import (
    class_average_precisions,
    interpolated_average_precision,
    per_image_average_precision,
)


def interpolated_by_loop(targets, scores):
    """For each positive, the best precision at its rank or below."""
    order = np.argsort(-scores)
    hits = targets[order]
    precisions = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return np.mean([precisions[rank:].max() for rank in np.flatnonzero(hits)])


@pytest.fixture
def multi_label():
    rng = np.random.RandomState(0)
    targets = (rng.rand(80, 6) < [0.5, 0.3, 0.2, 0.1, 0.1, 0.1]).astype(int)
    return targets, targets + 1.2 * rng.randn(80, 6)


def test_interpolated_precision_equals_a_loop(multi_label):
    targets, scores = multi_label
    expected = [interpolated_by_loop(t, s) for t, s in zip(targets.T, scores.T)]
    np.testing.assert_allclose(class_average_precisions(targets, scores), expected, atol=1e-12)


def test_interpolation_only_raises_scikit_learns(multi_label):
    targets, scores = multi_label
    plain = average_precision_score(targets, scores, average=None)
    ours = class_average_precisions(targets, scores)
    assert np.all(ours >= plain) and 0 < (ours - plain).max() < 0.1
    # A ranking whose precision only falls needs no interpolation.
    falling = np.array([1, 1, 0, 1, 0, 0]), np.arange(6, 0, -1)
    assert interpolated_average_precision(*falling) == pytest.approx(
        average_precision_score(*falling)
    )


def test_ties_have_no_order():
    targets = np.array([1, 0, 0, 0])
    assert interpolated_average_precision(targets, np.zeros(4)) == 0.25
    assert interpolated_average_precision(targets[::-1], np.zeros(4)) == 0.25


def test_a_class_that_no_image_has_counts_nowhere():
    targets, scores = np.array([[1, 0], [0, 0]]), np.array([[0.9, 0.1], [0.1, 0.2]])
    precisions = class_average_precisions(targets, scores)
    assert precisions[0] == 1 and np.isnan(precisions[1])


def test_per_image_precision_equals_scikit_learn_by_image(multi_label):
    targets, scores = multi_label
    targets[3] = 0  # nothing to find: 0, as in AdCo's loop over scikit-learn
    with pytest.warns(UserWarning, match='No positive class'):
        expected = np.mean([average_precision_score(t, s) for t, s in zip(targets, scores)])
    assert per_image_average_precision(targets, scores) == pytest.approx(expected, abs=1e-12)


def test_the_two_metrics_differ_and_a_constant_does_well_in_one(multi_label):
    targets, _ = multi_label
    frequencies = np.tile(targets.mean(axis=0), (len(targets), 1))
    by_class = np.mean(class_average_precisions(targets, frequencies))
    assert by_class == pytest.approx(targets.mean())
    assert per_image_average_precision(targets, frequencies) > 2 * by_class


def test_metric_reports_both(multi_label):
    targets, scores = multi_label
    metric = METRICS.build(dict(type='VOC07Metric'))
    samples = [
        DataSample()
        .set_gt_label(np.flatnonzero(target))
        .set_pred_score(torch.from_numpy(score))
        .to_dict()
        for target, score in zip(targets, scores)
    ]
    metric.process(None, samples[:50])
    metric.process(None, samples[50:])
    assert metric.evaluate(len(samples)) == {
        'voc07/class_map': pytest.approx(100 * class_average_precisions(targets, scores).mean()),
        'voc07/per_image_ap': pytest.approx(100 * per_image_average_precision(targets, scores)),
    }
