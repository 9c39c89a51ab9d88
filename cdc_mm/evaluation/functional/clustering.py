from typing import Tuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import entropy
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix


def match_clusters(labels: np.ndarray, clusters: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Match clusters to classes one to one so that the most samples agree (Hungarian method).

    Args:
        labels (np.ndarray): Class of each sample, shape (N,).
        clusters (np.ndarray): Cluster of each sample, shape (N,). The number of clusters may
            differ from the number of classes; what is left over has no partner.

    Returns:
        tuple: Matched classes and matched clusters, two arrays of the same length.
    """
    _, rows, columns = _match(labels, clusters)
    return np.unique(labels)[rows], np.unique(clusters)[columns]


def cluster_accuracy(labels: np.ndarray, clusters: np.ndarray) -> float:
    """Clustering accuracy (ACC): the share of samples whose cluster is matched to their class.

    Args:
        labels (np.ndarray): Class of each sample, shape (N,), N at least 1.
        clusters (np.ndarray): Cluster of each sample, shape (N,).

    Returns:
        float: In [0, 1]. Samples of clusters without a partner count as wrong.
    """
    table, rows, columns = _match(labels, clusters)
    return float(table[rows, columns].sum() / len(labels))


def align_clusters(clusters: np.ndarray, reference: np.ndarray, num_clusters: int) -> np.ndarray:
    """Number clusters as those of another clustering that they share most samples with.

    Args:
        clusters (np.ndarray): Cluster of each sample, shape (N,), in [0, num_clusters).
        reference (np.ndarray): Its cluster in the other clustering, likewise.
        num_clusters (int): K.

    Returns:
        np.ndarray: ``clusters`` under other numbers, one to one, so that the most samples have the
        same number in both (Hungarian method).
    """
    table = np.zeros((num_clusters, num_clusters), dtype=np.int64)
    np.add.at(table, (clusters, reference), 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    number = np.empty(num_clusters, dtype=np.int64)
    number[rows] = columns
    return number[clusters]


def _match(labels: np.ndarray, clusters: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The contingency table and the rows and columns that the Hungarian method pairs in it."""
    table = contingency_matrix(labels, clusters)
    return (table, *linear_sum_assignment(table, maximize=True))


def many_to_one_accuracy(labels: np.ndarray, clusters: np.ndarray) -> float:
    """Share of samples that belong to the most frequent class of their cluster (purity).

    It grows with the number of clusters and is no substitute for ACC.

    Args:
        labels (np.ndarray): Class of each sample, shape (N,), N at least 1.
        clusters (np.ndarray): Cluster of each sample, shape (N,).

    Returns:
        float: In [0, 1].
    """
    return float(contingency_matrix(labels, clusters).max(axis=0).sum() / len(labels))


def label_metrics(labels: np.ndarray, clusters: np.ndarray, num_clusters: int) -> dict:
    """Agreement of a clustering with ground truth, in percent.

    Args:
        labels (np.ndarray): Class of each sample, shape (N,).
        clusters (np.ndarray): Cluster of each sample, shape (N,), in [0, num_clusters).
        num_clusters (int): K.

    Returns:
        dict: ``acc`` (one to one), ``nmi`` (arithmetic mean, as scikit-learn's default), ``ari``;
        and ``many_to_one_acc`` if K differs from the number of classes.
    """
    result = dict(
        acc=100 * cluster_accuracy(labels, clusters),
        nmi=100 * normalized_mutual_info_score(labels, clusters),
        ari=100 * adjusted_rand_score(labels, clusters),
    )
    if num_clusters != len(np.unique(labels)):
        result['many_to_one_acc'] = 100 * many_to_one_accuracy(labels, clusters)
    return {name: float(value) for name, value in result.items()}


def size_metrics(clusters: np.ndarray, num_clusters: int) -> dict:
    """How evenly a clustering uses its clusters. Needs no labels.

    Args:
        clusters (np.ndarray): Cluster of each sample, shape (N,), in [0, num_clusters).
        num_clusters (int): K, at least 2.

    Returns:
        dict: ``empty_clusters``, ``largest_share`` (percent), ``size_entropy`` (entropy of the
        sizes over ln K: 1 when all are equal, 0 when one holds everything), ``cluster_sizes``.
    """
    sizes = np.bincount(clusters, minlength=num_clusters)
    return dict(
        empty_clusters=int((sizes == 0).sum()),
        largest_share=float(100 * sizes.max() / sizes.sum()),
        size_entropy=float(entropy(sizes) / np.log(num_clusters)),
        cluster_sizes=sizes.tolist(),
    )
