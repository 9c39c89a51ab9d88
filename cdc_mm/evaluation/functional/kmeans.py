import numpy as np


def kmeans_clusters(
    train: np.ndarray, test: np.ndarray, num_clusters: int, restarts: int = 10, seed: int = 0
) -> np.ndarray:
    """Clusters of the test rows by scikit-learn's k-means, fitted on the training rows.

    Args:
        train (np.ndarray): Shape (N, D).
        test (np.ndarray): Shape (M, D).
        num_clusters (int): K, at most the number of different training rows.
        restarts (int): The one with the least inertia counts. Defaults to 10.
        seed (int): Of the starts. Defaults to 0.

    Returns:
        np.ndarray: Shape (M,), 0 to K - 1.
    """
    # scikit-learn takes a second to import.
    from sklearn.cluster import KMeans

    return KMeans(num_clusters, n_init=restarts, random_state=seed).fit(train).predict(test)


def count_distinct(rows: np.ndarray, enough: int) -> int:
    """The number of different rows, counted until there are enough.

    Args:
        rows (np.ndarray): Shape (N, D); what gives an array for a slice will do.
        enough (int): Where to stop.

    Returns:
        int: If less than ``enough``, that number; else a number that is not less.
    """
    seen = set()
    for begin in range(0, len(rows), 4096):
        # 0.0 and -0.0 are other bytes of the same number.
        seen.update(row.tobytes() for row in np.asarray(rows[begin : begin + 4096]) + 0.0)
        if len(seen) >= enough:
            break
    return len(seen)


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Rows (N, D) scaled to length 1, a float32 copy in memory."""
    rows = np.array(rows, dtype=np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return rows
