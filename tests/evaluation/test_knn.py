import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from cdc_mm.evaluation.functional import knn_accuracy, knn_scores
from cdc_mm.features import nearest_neighbors, top_k


@pytest.fixture
def data():
    rng = np.random.RandomState(0)
    centers = rng.randn(5, 8)
    labels, query_labels = rng.randint(5, size=300), rng.randint(5, size=90)
    bank = (centers[labels] + 1.5 * rng.randn(300, 8)).astype(np.float32)
    queries = (centers[query_labels] + 1.5 * rng.randn(90, 8)).astype(np.float32)
    return queries, query_labels, bank, labels


def sklearn_knn(bank, labels, k, temperature):
    knn = KNeighborsClassifier(
        k,
        metric='cosine',
        algorithm='brute',
        weights=lambda distances: np.exp((1 - distances) / temperature),
    )
    return knn.fit(bank, labels)


@pytest.mark.parametrize('temperature', [0.07, 0.1])
def test_equals_scikit_learn(data, temperature):
    queries, query_labels, bank, labels = data
    reference = sklearn_knn(bank, labels, 20, temperature)
    similarities, indices = nearest_neighbors(queries, bank, 20, query_chunk=32, bank_chunk=47)
    scores = knn_scores(similarities, torch.from_numpy(labels)[indices], 5, temperature)
    np.testing.assert_allclose(scores, reference.predict_proba(queries), atol=2e-5)
    result = knn_accuracy(queries, query_labels, bank, labels, 20, [temperature])
    assert result == {temperature: pytest.approx(100 * reference.score(queries, query_labels))}
    assert 30 < result[temperature] < 100  # the data leave room to be wrong


def test_chunks_change_nothing(data):
    queries, _, bank, _ = data
    whole = nearest_neighbors(queries, bank, 100)
    parts = nearest_neighbors(queries, bank, 100, query_chunk=7, bank_chunk=11)
    torch.testing.assert_close(parts[0], whole[0], atol=1e-6, rtol=0)
    assert torch.equal(parts[1], whole[1])


def test_half_precision_memory_map(data, tmp_path):
    queries, _, bank, _ = data
    np.save(tmp_path / 'bank.npy', bank.astype(np.float16))
    mapped = np.load(tmp_path / 'bank.npy', mmap_mode='r')
    similarities, indices = nearest_neighbors(queries, mapped, 5)
    expected, _ = nearest_neighbors(queries, bank, 5)
    assert similarities.dtype == torch.float32 and indices.shape == (90, 5)
    torch.testing.assert_close(similarities, expected, atol=2e-3, rtol=0)


def test_a_small_temperature_does_not_overflow():
    scores = knn_scores(torch.tensor([[0.9, 0.8]]), torch.tensor([[1, 0]]), 3, 1e-3)
    torch.testing.assert_close(scores, torch.tensor([[0.0, 1.0, 0.0]]))


def test_top_k_gives_all_when_there_are_fewer():
    values, names = top_k(torch.tensor([[1.0, 3.0, 2.0]]), torch.tensor([[10, 30, 20]]), 5)
    assert values.tolist() == [[3, 2, 1]] and names.tolist() == [[30, 20, 10]]


@pytest.mark.parametrize('k', [0, 301])
def test_refuses_k_out_of_range(data, k):
    with pytest.raises(ValueError, match=f'between 1 and the 300 images of the bank, got {k}'):
        nearest_neighbors(data[0], data[2], k)


def test_refuses_a_temperature_of_zero():
    with pytest.raises(ValueError, match='temperature must be above 0, got 0'):
        knn_scores(torch.ones(1, 1), torch.zeros(1, 1, dtype=torch.long), 1, 0)
