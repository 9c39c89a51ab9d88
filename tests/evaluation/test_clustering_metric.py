import numpy as np
import pytest
import torch
from helpers import run_ranks
from mmpretrain.registry import METRICS
from mmpretrain.structures import DataSample
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score

from cdc_mm.errors import RunError
from cdc_mm.evaluation.functional import (
    cluster_stability,
    label_metrics,
    linear_consistency,
    silhouette,
    size_metrics,
)
from cdc_mm.evaluation.metrics import clustering_metric

N, K = 23, 4
_rng = np.random.RandomState(0)
SCORES = torch.softmax(torch.from_numpy(_rng.randn(N, K)) * 3, dim=1)
LABELS = torch.from_numpy(_rng.randint(K, size=N))


def samples(indices, with_label=True):
    result = []
    for i in indices:
        sample = DataSample().set_pred_score(SCORES[i]).set_pred_label(SCORES[i].argmax())
        if with_label:
            sample.set_gt_label(LABELS[i])
        result.append(sample.to_dict())
    return result


def evaluate(indices, size, with_label=True):
    metric = METRICS.build(dict(type='ClusteringMetric'))
    for start in range(0, len(indices), 5):
        metric.process({}, samples(indices[start : start + 5], with_label))
    return metric.evaluate(size)


def test_with_labels():
    result = evaluate(range(N), N)
    clusters = SCORES.argmax(1).numpy()
    expected = label_metrics(LABELS.numpy(), clusters, K) | size_metrics(clusters, K)
    expected |= dict(num_samples=N, mean_confidence=float(100 * SCORES.max(1).values.mean()))
    assert set(result) == {f'clustering/{name}' for name in expected}
    for name, value in expected.items():
        assert result[f'clustering/{name}'] == pytest.approx(value), name


def test_without_labels_says_so(monkeypatch):
    said = []
    monkeypatch.setattr('mmengine.logging.MMLogger.info', lambda self, text: said.append(text))
    result = evaluate(range(N), N, with_label=False)
    assert any('No labels for 23 of 23 images' in text for text in said)
    assert 'clustering/acc' not in result
    assert result['clustering/num_samples'] == N
    assert sum(result['clustering/cluster_sizes']) == N


def _evaluate_rank(rank, world_size):
    # As mmengine's DefaultSampler deals samples out: padded to equal parts from the beginning.
    padded = [*range(N), 0]
    return evaluate(padded[rank::world_size], N)


def test_two_ranks_with_a_padded_sample_equal_one_process():
    single = evaluate(range(N), N)
    for result in run_ranks(2, _evaluate_rank):
        sizes = 'clustering/cluster_sizes'
        assert result.pop(sizes) == single[sizes]
        assert result == pytest.approx({k: v for k, v in single.items() if k != sizes})


X, Y = load_digits(return_X_y=True)
GUESS = np.where(np.random.RandomState(1).rand(len(Y)) < 0.1, (Y + 1) % 10, Y)


def digits(indices, size, inputs, batch=100, heads=None, **fields):
    """Evaluate GUESS on some digits; ``inputs`` and ``fields`` are by image."""
    metric = METRICS.build(dict(type='ClusteringMetric'))
    for start in range(0, len(indices), batch):
        part, batch_samples = indices[start : start + batch], []
        for i in part:
            sample = DataSample(metainfo=dict(sample_idx=i))
            sample.set_pred_score(torch.eye(10)[GUESS[i]]).set_pred_label(int(GUESS[i]))
            for name, values in fields.items():
                sample.set_field(values[i], name)
            batch_samples.append(sample.to_dict())
        metric.process(dict(inputs=[inputs[i] for i in part]), batch_samples)
    result = metric.evaluate(size)
    assert len(result.pop('clustering/cluster_sizes')) == 10
    return result


def test_how_sure_it_is_in_a_fixed_space():
    rows = torch.from_numpy(X).float()
    sure = digits(range(len(X)), len(X), rows)
    assert sure['clustering/linear_cv'] == pytest.approx(
        100 * linear_consistency(X, GUESS, 10), abs=1
    )  # the folds are others
    assert sure['clustering/silhouette'] == pytest.approx(silhouette(X, GUESS), abs=1e-4)
    # An image of 8x8 pixels and the row of its pixels have the same angles to others.
    images = digits(range(len(X)), len(X), rows.reshape(-1, 1, 8, 8).to(torch.uint8))
    assert images == pytest.approx(sure, abs=1e-4)
    # What the model says of a frozen encoder counts before the images.
    noise = torch.rand(len(X), 3, 20, 20)
    assert digits(range(len(X)), len(X), noise, row=rows) == pytest.approx(sure)
    assert digits(range(len(X)), len(X), noise)['clustering/linear_cv'] < 30


def test_the_rows_are_bounded_and_do_not_depend_on_the_order(monkeypatch):
    monkeypatch.setattr(clustering_metric, '_MAX_ROWS', 200)
    kept = []
    count = clustering_metric.linear_consistency
    monkeypatch.setattr(
        clustering_metric,
        'linear_consistency',
        lambda rows, *args, **kwargs: kept.append(rows) or count(rows, *args, **kwargs),
    )
    rows = torch.from_numpy(X).float()
    first = digits(range(len(X)), len(X), rows)
    again = digits(range(len(X))[::-1], len(X), rows, batch=7)
    assert again == pytest.approx(first)
    assert kept[0].shape == (200, 64)
    np.testing.assert_array_equal(kept[0], kept[1])
    beginning = {row.tobytes() for row in rows[:200].numpy()}
    assert sum(row.tobytes() in beginning for row in kept[0]) < 50  # a sample, not the first class
    monkeypatch.setattr(clustering_metric, '_ROWS_A_CLUSTER', 30)
    digits(range(len(X)), len(X), rows)
    assert len(kept[2]) == 300  # with many clusters, more


def _sure_rank(rank, world_size):
    clustering_metric._MAX_ROWS = 150
    return digits(range(500)[rank::world_size], 500, torch.from_numpy(X).float())


def test_two_ranks_are_as_sure_as_one_process(monkeypatch):
    monkeypatch.setattr(clustering_metric, '_MAX_ROWS', 150)
    single = digits(range(500), 500, torch.from_numpy(X).float())
    for result in run_ranks(2, _sure_rank):
        assert result['clustering/linear_cv'] == pytest.approx(single['clustering/linear_cv'])
        assert result['clustering/silhouette'] == pytest.approx(single['clustering/silhouette'])


def test_what_several_heads_say_of_each_other():
    rows = torch.from_numpy(X).float()
    heads = torch.from_numpy(np.stack([GUESS, Y, (Y + 3) % 10], axis=1))
    result = digits(range(len(X)), len(X), rows, head_labels=heads)
    pairs = [(GUESS, Y), (GUESS, Y), (Y, Y)]
    expected = np.mean([adjusted_rand_score(*pair) for pair in pairs])
    assert result['clustering/head_agreement'] == pytest.approx(expected)
    stable = cluster_stability(GUESS, heads.numpy().T, 10)
    assert result['clustering/head_stability'] == pytest.approx(stable.tolist())
    alone = digits(range(len(X)), len(X), rows, head_labels=heads[:, :1])
    assert 'clustering/head_agreement' not in alone


def test_images_of_which_there_are_several_views_have_no_row():
    views = [torch.rand(10, 1, 8, 8)] * 10
    result = digits(range(10), 10, views, batch=10)
    assert 'clustering/linear_cv' not in result and 'clustering/num_samples' in result


def test_rows_that_are_not_finite_are_refused():
    rows = torch.from_numpy(X).float()
    rows[3, 3] = float('nan')
    with pytest.raises(RunError, match='are not finite'):
        digits(range(len(X)), len(X), rows)
