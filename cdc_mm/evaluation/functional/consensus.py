from typing import Tuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from .kmeans import kmeans_clusters

_ROUNDS = 10


def consensus(
    probabilities: np.ndarray, restarts: int = 10, seed: int = 0
) -> Tuple[np.ndarray, np.ndarray]:
    """One clustering that several agree on.

    k-means on all probabilities of an image side by side gives clusters to begin with. Then in turn
    each clustering's clusters are matched to them one to one (Hungarian method) and the mean of the
    matched probabilities gives new ones, until none changes.

    Args:
        probabilities (np.ndarray): Of V clusterings, shape (V, N, K), N at least K.
        restarts (int): Of k-means. Defaults to 10.
        seed (int): Of its starts. Defaults to 0.

    Returns:
        tuple: The cluster of each image, shape (N,), and for each clustering which of its clusters
        is cluster k of all, shape (V, K).
    """
    num_voters, num_images, num_clusters = probabilities.shape
    # An image's probabilities side by side.
    rows = probabilities.transpose(1, 0, 2).reshape(num_images, -1)
    labels = kmeans_clusters(rows, rows, num_clusters, restarts, seed)
    orders = np.empty((num_voters, num_clusters), np.int64)
    for _ in range(_ROUNDS):
        members = np.eye(num_clusters, dtype=rows.dtype)[labels]
        mean = np.zeros((num_images, num_clusters), rows.dtype)
        for order, own in zip(orders, probabilities, strict=True):
            order[:] = linear_sum_assignment(members.T @ own, maximize=True)[1]
            mean += own[:, order]
        before, labels = labels, mean.argmax(axis=1)
        if np.array_equal(before, labels):
            break
    return labels, orders
