import numpy as np


def nearest_groups(rows: np.ndarray) -> np.ndarray:
    """Groups of rows that are connected by links from each row to its nearest neighbour.

    Args:
        rows (np.ndarray): Shape (N, D), N at least 2.

    Returns:
        np.ndarray: Shape (N,), from 0 on, none empty; at most N / 2 groups.
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components
    from sklearn.neighbors import NearestNeighbors

    count = len(rows)
    nearest = NearestNeighbors(n_neighbors=1).fit(rows).kneighbors(return_distance=False)[:, 0]
    links = csr_matrix((np.ones(count), (np.arange(count), nearest)), (count, count))
    return connected_components(links, directed=False)[1]


def agglomerate(
    rows: np.ndarray, labels: np.ndarray, num_clusters: int, neighbors: int = 20
) -> np.ndarray:
    """Merge clusters by the links of a graph of nearest neighbours (JULE, section 3.2).

    Each row has links to its nearest neighbours, of weight exp(-d^2 / s^2), where s^2 is the mean
    of the squared distances d^2. The affinity of two clusters is what goes from one to the other
    and back along links, over the squared size of the one where it begins, both ways (graph degree
    linkage). The two of largest affinity are merged, again and again.

    Args:
        rows (np.ndarray): Shape (N, D).
        labels (np.ndarray): Clusters to begin with, 0 to C - 1, none empty, shape (N,).
        num_clusters (int): K, when to stop.
        neighbors (int): Links of each row; at most one to each other row. Defaults to 20, the
            paper's.

    Returns:
        np.ndarray: Clusters, shape (N,), 0 to K - 1, or to C - 1 if C is less.
    """
    # SciPy and scikit-learn take a second to import.
    from scipy.sparse import csr_matrix
    from sklearn.neighbors import NearestNeighbors

    count = len(rows)
    search = NearestNeighbors(n_neighbors=min(neighbors, count - 1)).fit(rows)
    distances, nearest = search.kneighbors()  # without the row itself
    squares = distances.astype(np.float64) ** 2
    weights = np.exp(-squares / max(squares.mean(), np.finfo(float).tiny))
    each = np.repeat(np.arange(count), nearest.shape[1])
    links = csr_matrix((weights.ravel(), (each, nearest.ravel())), (count, count))
    labels = np.array(labels)
    size = labels.max() + 1
    members = csr_matrix((np.ones(count), (labels, np.arange(count))), (size, count))
    sizes = np.bincount(labels, minlength=size).astype(np.float64)
    # Of each cluster, the weight of the links to each row, and of those from it.
    into, out_of = list(members @ links), list(members @ links.T.tocsr())

    def walks(cluster: int) -> np.ndarray:
        """From the cluster to each other one and back, by the clusters of the rows between."""
        both = into[cluster].multiply(out_of[cluster]).tocoo()
        return np.bincount(labels[both.coords[-1]], weights=both.data, minlength=size)

    walked = np.stack([walks(c) for c in range(size)])
    scaled = walked / sizes[:, None] ** 2
    affinity = scaled + scaled.T
    np.fill_diagonal(affinity, -1.0)
    best = affinity.max(axis=1)
    alive = np.ones(size, dtype=bool)
    for _ in range(size - num_clusters):
        a = int(best.argmax())
        b = int(affinity[a].argmax())
        into[a], out_of[a] = into[a] + into[b], out_of[a] + out_of[b]
        labels[labels == b] = a
        sizes[a] += sizes[b]
        alive[b] = False
        walked[:, a] += walked[:, b]
        walked[a] = walks(a)
        row = walked[a] / sizes[a] ** 2 + walked[:, a] / sizes**2
        row[~alive] = -1.0
        row[a] = -1.0
        affinity[b] = affinity[:, b] = -1.0
        affinity[a] = affinity[:, a] = row
        best = affinity.max(axis=1)
    return np.unique(labels, return_inverse=True)[1]
