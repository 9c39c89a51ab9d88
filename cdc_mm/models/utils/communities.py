import numpy as np
from scipy.sparse import csr_matrix, identity

_STEPS = 12  # of the search for a resolution, each halves the range of its logarithm
_RESOLUTIONS = (0.01, 100.0)
_FINER = 1.1  # for a partition that has too few communities


def neighbor_communities(
    rows: np.ndarray, num_clusters: int, count: int, num_neighbors: int = 20, seed: int = 0
) -> np.ndarray:
    """Several partitions of rows into communities: groups that are neighbours among themselves.

    Louvain's method (`Blondel et al., 2008 <https://arxiv.org/abs/0803.0476>`_) on the graph of the
    nearest neighbours by cosine, where an edge weighs what share of their neighbours two rows have
    in common (Jaccard index). It makes no assumption on the sizes of communities, but knows no
    number either: the resolution is searched that gives as many as wanted, and where a partition
    has more, those are merged by which modularity loses least. Partitions differ by the random
    order in which rows are visited.

    Args:
        rows (np.ndarray): Shape (N, C), N up to some 20,000: all similarities are computed.
        num_clusters (int): K, 2 to N.
        count (int): How many partitions.
        num_neighbors (int): Of each row, at most N - 1. Defaults to 20.
        seed (int): Of the first partition; the next have the next ones. Defaults to 0.

    Returns:
        np.ndarray: The community of each row, 0 to K - 1, by each partition, shape (count, N);
        none is empty.

    Raises:
        ValueError: If there are fewer rows than communities.
    """
    if not 2 <= num_clusters <= len(rows):
        raise ValueError(f'{len(rows)} rows cannot be {num_clusters} communities')
    graph = shared_neighbors(rows, min(num_neighbors, len(rows) - 1))
    low, high = np.log(_RESOLUTIONS)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _partition(graph, np.exp(middle), seed).max() + 1 < num_clusters:
            low = middle
        else:
            high = middle
    return np.stack([_exactly(graph, num_clusters, np.exp(high), seed + i) for i in range(count)])


def neighbors_within_clusters(most: int, num_rows: int, num_clusters: int) -> int:
    """How many neighbours of a row may be taken for members of its cluster.

    At most half of an even cluster, or most would be of another one; at least 1, at most ``most``.
    """
    return max(1, min(most, num_rows // (2 * num_clusters)))


def shared_neighbors(rows: np.ndarray, num_neighbors: int) -> csr_matrix:
    """The graph of nearest neighbours by cosine, weighted by how many neighbours two rows share.

    Args:
        rows (np.ndarray): Shape (N, C).
        num_neighbors (int): k, 1 to N - 1.

    Returns:
        csr_matrix: Symmetric, (N, N): where one of two rows is among the k nearest of the other,
        the Jaccard index of their neighbourhoods, each with its own row.
    """
    from sklearn.neighbors import kneighbors_graph

    nearest = kneighbors_graph(rows, num_neighbors, metric='cosine')
    own = (nearest + identity(len(rows))).tocsr()
    edges = (nearest + nearest.T).astype(bool)
    common = (own @ own.T).multiply(edges).tocoo()
    either = 2 * (num_neighbors + 1) - common.data
    return csr_matrix((common.data / either, (common.row, common.col)), shape=common.shape)


def _partition(graph: csr_matrix, resolution: float, seed: int) -> np.ndarray:
    from sknetwork.clustering import Louvain

    method = Louvain(
        resolution, 'newman', tol_optimization=1e-4, tol_aggregation=1e-4, shuffle_nodes=True,
        random_state=seed,
    )  # fmt: skip
    return method.fit_predict(graph)


def _exactly(graph: csr_matrix, num_clusters: int, resolution: float, seed: int) -> np.ndarray:
    """A partition of no fewer communities, merged to as many as wanted."""
    labels = _partition(graph, resolution, seed)
    while labels.max() + 1 < num_clusters:
        resolution *= _FINER
        labels = _partition(graph, resolution, seed)
    members = csr_matrix((np.ones(len(labels)), (labels, np.arange(len(labels)))))
    between = (members @ graph @ members.T).toarray()
    while len(between) > num_clusters:
        # What modularity gains by a merger, up to a factor.
        degrees = between.sum(axis=1)
        gain = between - resolution * np.outer(degrees, degrees) / degrees.sum()
        np.fill_diagonal(gain, -np.inf)
        first, second = sorted(np.unravel_index(gain.argmax(), gain.shape))
        labels = np.where(labels == second, first, labels)
        labels -= labels > second
        between[first] += between[second]
        between[:, first] += between[:, second]
        between = np.delete(np.delete(between, second, 0), second, 1)
    return labels
