import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import run_ranks
from sklearn.neighbors import NearestNeighbors

from cdc_mm.errors import RunError
from cdc_mm.features import FeatureStore, nearest_neighbors, neighbor_table
from cdc_mm.features import neighbors as module


@pytest.fixture
def rows():
    return np.random.RandomState(0).randn(50, 6).astype(np.float32)


def reference(queries, bank, k):
    found = NearestNeighbors(n_neighbors=k, metric='cosine', algorithm='brute').fit(bank)
    return found.kneighbors(queries)


@pytest.mark.parametrize(('query_chunk', 'bank_chunk'), [(4096, 16384), (7, 4), (1, 50)])
def test_equals_scikit_learn_in_any_blocks(rows, query_chunk, bank_chunk):
    similarities, indices = nearest_neighbors(
        rows[:20], rows, 5, query_chunk=query_chunk, bank_chunk=bank_chunk
    )
    distances, expected = reference(rows[:20], rows, 5)
    assert np.array_equal(indices, expected)
    assert np.allclose(1 - similarities.numpy(), distances, atol=1e-6)


class FlatIP:
    """What faiss does, said in NumPy."""

    def __init__(self, dims):
        self.rows = np.empty((0, dims), np.float32)

    def add(self, rows):
        self.rows = np.concatenate([self.rows, rows])

    def search(self, queries, k):
        table = queries @ self.rows.T
        order = np.argsort(-table, axis=1)[:, :k]
        return np.take_along_axis(table, order, 1), order


def test_takes_faiss_where_it_is_installed(rows, monkeypatch):
    expected = nearest_neighbors(rows[:20], rows, 5, query_chunk=7, bank_chunk=4)
    used = []
    stand_in = SimpleNamespace(IndexFlatIP=lambda dims: used.append(dims) or FlatIP(dims))
    monkeypatch.setitem(sys.modules, 'faiss', stand_in)
    found = nearest_neighbors(rows[:20], rows, 5, query_chunk=7, bank_chunk=4)
    assert used == [6] and found[1].dtype == torch.int64
    assert torch.equal(found[1], expected[1]) and torch.allclose(found[0], expected[0])
    monkeypatch.setitem(sys.modules, 'faiss', None)  # not installed
    assert torch.equal(nearest_neighbors(rows[:20], rows, 5)[1], expected[1])
    assert used == [6]


def test_faiss_finds_the_same(rows, monkeypatch):
    pytest.importorskip('faiss')
    found = nearest_neighbors(rows[:20], rows, 5)
    monkeypatch.setitem(sys.modules, 'faiss', None)
    assert torch.equal(found[1], nearest_neighbors(rows[:20], rows, 5)[1])


@pytest.mark.parametrize('k', [0, 51])
def test_refuses_more_neighbours_than_rows(rows, k):
    with pytest.raises(ValueError, match=f'between 1 and the 50 images of the bank, got {k}'):
        nearest_neighbors(rows, rows, k)


def make_store(tmp_path, rows):
    store = FeatureStore(tmp_path, 'x', {})
    ids = np.array([f'{i:016}' for i in range(len(rows))], 'S16')
    if len(store.missing(ids)):
        with store.adding() as writer:
            writer.add(ids, rows, ids[:0])
    return store, ids


def test_table_leaves_out_the_image_itself_and_is_kept(tmp_path, rows, monkeypatch, capsys):
    rows[10:40] = rows[10]  # more twins than neighbours
    monkeypatch.setattr(module, 'TABLE_QUERIES', 16)
    store, ids = make_store(tmp_path, rows)
    table = neighbor_table(store, ids, 4)
    assert isinstance(table, np.memmap) and table.shape == (50, 4) and table.dtype == np.int32
    for i, found in enumerate(table):
        assert i not in found and len(set(found)) == 4
    single = np.r_[0:10, 40:50]
    expected = reference(rows, rows, 5)[1][:, 1:]
    first = [i for i in single if not set(expected[i]) & set(range(10, 40))]
    assert len(first) > 1 and np.array_equal(table[first], expected[first])
    assert all(10 <= j < 40 for j in table[10:40].ravel())

    table = np.array(table)  # the file will change
    calls = []
    monkeypatch.setattr(module, 'nearest_neighbors', lambda *args: calls.append(args))
    assert np.array_equal(neighbor_table(store, ids, 4), table) and not calls
    monkeypatch.undo()
    (path,) = store.path.glob('neighbors-*.npy')
    path.write_bytes(path.read_bytes()[:-4])
    capsys.readouterr()
    assert np.array_equal(neighbor_table(store, ids, 4), table)
    assert f'{path} is left out and made anew' in capsys.readouterr().out
    # Of other images, or in another order, it is another.
    assert neighbor_table(store, ids[::-1], 4).shape == (50, 4)
    assert len(list(store.path.glob('neighbors-*.npy'))) == 2
    assert len(FeatureStore(tmp_path, 'x', {}).missing(ids)) == 0


@pytest.mark.parametrize('k', [0, 50])
def test_table_refuses_more_neighbours_than_others(tmp_path, rows, k):
    store, ids = make_store(tmp_path, rows)
    with pytest.raises(ValueError, match=f'between 1 and the 49 other images, got {k}'):
        neighbor_table(store, ids, k)


def _table_on_rank(rank, world_size, tmp_path, rows):
    store = FeatureStore(tmp_path, 'x', {})
    ids = np.array([f'{i:016}' for i in range(len(rows))], 'S16')
    return np.array(neighbor_table(store, ids, 3))


def test_all_ranks_read_the_table(tmp_path, rows):
    make_store(tmp_path, rows)
    first, second = run_ranks(2, _table_on_rank, tmp_path, rows)
    assert np.array_equal(first, second)
    assert np.array_equal(first, reference(rows, rows, 4)[1][:, 1:])


def _no_table_on_rank(rank, world_size, tmp_path, rows):
    def full(*args):
        raise OSError(28, 'No space left on device')

    if rank == 0:
        module.ArrayWriter.append = full
    try:
        _table_on_rank(rank, world_size, tmp_path, rows)
    except RunError as error:
        return str(error)


def test_a_full_disk_ends_all_ranks(tmp_path, rows):
    make_store(tmp_path, rows)
    messages = run_ranks(2, _no_table_on_rank, tmp_path, rows)
    assert messages[0] == messages[1] and 'No space left on device' in messages[0]
