"""How sure a clustering is, without labels."""

from typing import Sequence, Tuple

import numpy as np
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.cluster import contingency_matrix

from .kmeans import unit_rows


def agreement(partitions: Sequence[np.ndarray]) -> np.ndarray:
    """How far each of several clusterings of the same samples agrees with the others.

    The adjusted Rand index of scikit-learn, 1 for the same clusters and 0 on average for clusters
    drawn by chance; but a clustering that has only one cluster agrees with none (0), not even with
    another such, which scikit-learn gives 1.

    Args:
        partitions (Sequence[np.ndarray]): At least two, cluster of each sample, shape (N,) each.

    Returns:
        np.ndarray: For each the mean over the others, shape (R,). Their mean is the mean over all
        pairs.

    Raises:
        ValueError: If there are fewer than two, or they are of different samples.
    """
    _check_partitions(partitions)
    count = len(partitions)
    table = np.zeros((count, count))
    single = [len(np.unique(partition)) < 2 for partition in partitions]
    for i in range(count):
        for j in range(i):
            if not single[i] and not single[j]:
                table[i, j] = table[j, i] = adjusted_rand_score(partitions[i], partitions[j])
    return table.sum(axis=1) / (count - 1)


def cluster_stability(
    reference: np.ndarray, others: Sequence[np.ndarray], num_clusters: int
) -> np.ndarray:
    """How well other clusterings of the same samples find each cluster again.

    For each cluster the mean, over the others, of the largest Jaccard index that it has with a
    cluster there (Hennig, Cluster-wise assessment of cluster stability, 2007). He takes a cluster
    below 0.6 for no pattern, one above 0.85 for very stable.

    Args:
        reference (np.ndarray): Cluster of each sample, shape (N,), in [0, num_clusters).
        others (Sequence[np.ndarray]): At least one, shape (N,) each.
        num_clusters (int): K.

    Returns:
        np.ndarray: Shape (K,), in [0, 1]; 0 for a cluster that is empty.

    Raises:
        ValueError: If there is no other one, or they are of different samples.
    """
    _check_partitions([reference, *others])
    stability = np.zeros(num_clusters)
    used = np.unique(reference)
    for other in others:
        shared = contingency_matrix(reference, other)
        union = shared.sum(axis=1, keepdims=True) + shared.sum(axis=0) - shared
        stability[used] += (shared / union).max(axis=1)
    return stability / len(others)


def linear_consistency(
    rows: np.ndarray,
    clusters: np.ndarray,
    num_clusters: int,
    folds: int = 5,
    max_rows: int = 2000,
    seed: int = 0,
) -> float:
    """Cross-validated accuracy of a linear classifier that learns a clustering from features.

    Its mean over all K clusters (balanced accuracy), so that one large cluster is not a good one: a
    cluster that is empty or smaller than the number of folds counts as missed. TURTLE (Gadetsky et
    al. 2024) chooses its hyper-parameters by the plain accuracy of logistic regression; the ridge
    classifier used here ranked runs better and costs less (docs/results.md).

    Args:
        rows (np.ndarray): Features, shape (N, D), scaled to unit length first; the same for all
            clusterings that are to be compared.
        clusters (np.ndarray): Cluster of each row, shape (N,), in [0, num_clusters).
        num_clusters (int): K.
        folds (int): Of the cross-validation, stratified. Defaults to 5.
        max_rows (int): Of more, this many are drawn. Defaults to 2000.
        seed (int): Of what is drawn. Defaults to 0.

    Returns:
        float: In [0, 1]; 0 if fewer than two clusters are large enough.

    Raises:
        ValueError: If a row is not finite, or there is not one row for each cluster number.
    """
    # scikit-learn takes a second to import.
    from sklearn.linear_model import RidgeClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    rows, clusters = _draw(rows, clusters, max_rows, seed)
    large = np.bincount(clusters, minlength=num_clusters) >= folds
    if large.sum() < 2:
        return 0.0
    rows, clusters = rows[large[clusters]], clusters[large[clusters]]
    splits = StratifiedKFold(folds, shuffle=True, random_state=seed)
    found = cross_val_predict(RidgeClassifier(), rows, clusters, cv=splits)
    right = np.bincount(clusters[found == clusters], minlength=num_clusters)
    sizes = np.bincount(clusters, minlength=num_clusters)
    return float((right / np.maximum(sizes, 1)).mean())


def silhouette(
    rows: np.ndarray, clusters: np.ndarray, max_rows: int = 2000, seed: int = 0
) -> float:
    """The mean silhouette of a clustering, by cosine distance (scikit-learn's).

    Values in different spaces of features must not be compared.

    Args:
        rows (np.ndarray): Features, shape (N, D).
        clusters (np.ndarray): Cluster of each row, shape (N,).
        max_rows (int): Of more, this many are drawn. Defaults to 2000.
        seed (int): Of what is drawn. Defaults to 0.

    Returns:
        float: In [-1, 1]; -1 if there is only one cluster, or each row is one.

    Raises:
        ValueError: If a row is not finite, or there is not one row for each cluster number.
    """
    from sklearn.metrics import silhouette_score

    rows, clusters = _draw(rows, clusters, max_rows, seed)
    if not 2 <= len(np.unique(clusters)) < len(clusters):
        return -1.0
    return float(silhouette_score(rows, clusters, metric='cosine'))


def _check_partitions(partitions: Sequence[np.ndarray]) -> None:
    if len(partitions) < 2:
        raise ValueError('one clustering alone can neither agree nor be found again')
    lengths = sorted({len(partition) for partition in partitions})
    if len(lengths) > 1 or lengths == [0]:
        raise ValueError(f'the clusterings must be of the same samples, got {lengths} samples')


def _draw(
    rows: np.ndarray, clusters: np.ndarray, max_rows: int, seed: int
) -> Tuple[np.ndarray, np.ndarray]:
    rows, clusters = np.asarray(rows), np.asarray(clusters)
    if rows.ndim != 2 or len(rows) != len(clusters):
        raise ValueError(f'rows {rows.shape} do not belong to {len(clusters)} cluster numbers')
    if len(rows) > max_rows:
        drawn = np.random.RandomState(seed).choice(len(rows), max_rows, replace=False)
        rows, clusters = rows[drawn], clusters[drawn]
    if not np.isfinite(rows).all():
        raise ValueError('features that are not finite say nothing of clusters')
    return unit_rows(rows), clusters
