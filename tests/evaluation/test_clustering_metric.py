import numpy as np
import pytest
import torch
from helpers import run_ranks
from mmpretrain.registry import METRICS
from mmpretrain.structures import DataSample

from cdc_mm.evaluation.functional import label_metrics, size_metrics

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
