"""Communities of the neighbour graph: a plain loop, networkx's modularity, known groups."""

from itertools import combinations

import networkx as nx
import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.metrics import adjusted_rand_score

from cdc_mm.models.utils import communities, neighbor_communities


def groups(*sizes, spread=0.05, dims=8, seed=0):
    """Rows around directions at right angles, and the group of each."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    noise = np.random.RandomState(seed).randn(len(labels), dims)
    return np.eye(dims)[labels] + spread * noise, labels


def test_edges_weigh_what_share_of_their_neighbours_rows_have_in_common():
    rows = np.random.RandomState(0).randn(30, 5)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    order = np.argsort(-(unit @ unit.T), axis=1)
    near = [set(order[i, :5]) for i in range(30)]  # itself and the nearest four
    expected = np.zeros((30, 30))
    for i in range(30):
        for j in range(30):
            if i != j and (j in near[i] or i in near[j]):
                expected[i, j] = len(near[i] & near[j]) / len(near[i] | near[j])
    np.testing.assert_allclose(communities.shared_neighbors(rows, 4).toarray(), expected)


def test_groups_of_any_size_are_found():
    rows, labels = groups(200, 60, 20, 10)
    found = neighbor_communities(rows, 4, 5, num_neighbors=9)
    assert found.shape == (5, 290)
    assert [adjusted_rand_score(labels, own) for own in found] == [1.0] * 5
    np.testing.assert_array_equal(found, neighbor_communities(rows, 4, 5, num_neighbors=9))


@pytest.mark.parametrize('num_clusters', [2, 3, 4, 7, 40, 60])
def test_there_are_as_many_as_wanted(num_clusters):
    rows, _ = groups(20, 20, 20, spread=0.3)
    found = neighbor_communities(rows, num_clusters, 4, num_neighbors=6)
    for own in found:
        assert np.array_equal(np.unique(own), np.arange(num_clusters))
    if num_clusters == 7:
        assert len({tuple(own) for own in found}) > 1  # by the order of the visits


def test_more_than_wanted_are_merged_where_modularity_loses_least():
    rows, _ = groups(15, 15, 15, 15, spread=0.35)
    graph, resolution = communities.shared_neighbors(rows, 6), 1.5
    many = communities._partition(graph, resolution, 0)
    count = many.max() + 1
    assert count > 3
    network = nx.from_scipy_sparse_array(csr_matrix(graph))

    def modularity(labels):
        parts = [set(np.flatnonzero(labels == k).tolist()) for k in np.unique(labels)]
        return nx.community.modularity(network, parts, resolution=resolution)

    merged = [np.where(many == b, a, many) for a, b in combinations(range(count), 2)]
    best = max(merged, key=modularity)
    found = communities._exactly(graph, count - 1, resolution, 0)
    assert adjusted_rand_score(best, found) == 1.0


def test_partitions_are_as_modular_as_those_of_networkx():
    rows, _ = groups(30, 20, 10, spread=0.4)
    graph = communities.shared_neighbors(rows, 8)
    network = nx.from_scipy_sparse_array(csr_matrix(graph))
    theirs = nx.community.louvain_communities(network, seed=0)
    ours = communities._partition(graph, 1.0, 0)
    own = [set(np.flatnonzero(ours == k).tolist()) for k in np.unique(ours)]
    least = nx.community.modularity(network, theirs) - 0.02
    assert nx.community.modularity(network, own) > least > 0.2


def test_fewer_rows_than_communities_are_refused():
    with pytest.raises(ValueError, match='3 rows cannot be 4 communities'):
        neighbor_communities(np.eye(3), 4, 1)
