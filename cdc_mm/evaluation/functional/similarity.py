from typing import Tuple

import numpy as np


def pair_similarity(x: np.ndarray, y: np.ndarray) -> Tuple[float, float, int]:
    """Mean and standard deviation of the dot products of row i of ``x`` with row i of ``y``.

    Args:
        x (np.ndarray): Shape (N, D).
        y (np.ndarray): Shape (N, D).

    Returns:
        tuple: Mean, standard deviation, N.
    """
    dots = (x.astype(np.float64) * y).sum(axis=1)
    return float(dots.mean()), float(dots.std()), len(dots)


def category_similarity(x: np.ndarray, labels: np.ndarray) -> dict:
    """Dot products between different images, by category (the paper's table 7).

    Exact over all pairs, yet without forming them: with G = X^T X, the dot products of all ordered
    pairs sum to |sum of the rows|^2 and their squares to |G|_F^2. Pairs of an image with itself are
    taken off, and what is not of the same category is of different ones.

    Args:
        x (np.ndarray): Shape (N, D).
        labels (np.ndarray): Class of each row, shape (N,).

    Returns:
        dict: ``same`` and ``different``: mean, standard deviation and number of the unordered
        pairs; mean and deviation are NaN where there is none.
    """
    x = x.astype(np.float64)
    everything = _ordered_pair_sums(x)
    same = sum(_ordered_pair_sums(x[labels == label]) for label in np.unique(labels))
    return dict(same=_statistics(same), different=_statistics(everything - same))


def _ordered_pair_sums(x: np.ndarray) -> np.ndarray:
    """Count, sum and sum of squares of the dot products of all (i, j) with i != j."""
    own = (x * x).sum(axis=1)
    # G and the matrix of all dot products have the same Frobenius norm; the smaller one is formed.
    gram = x.T @ x if x.shape[1] < len(x) else x @ x.T
    return np.array(
        [
            len(x) * (len(x) - 1),
            (x.sum(axis=0) ** 2).sum() - own.sum(),
            (gram**2).sum() - (own**2).sum(),
        ]
    )


def _statistics(sums: np.ndarray) -> Tuple[float, float, int]:
    count, total, squares = sums
    if count == 0:
        return float('nan'), float('nan'), 0
    mean = total / count
    # Rounding may leave a variance of zero a little below it.
    return float(mean), float(np.sqrt(max(squares / count - mean**2, 0.0))), round(count / 2)


def alignment(x: np.ndarray, y: np.ndarray) -> float:
    """Mean squared distance of two views: 0 is perfect (Wang & Isola 2020, alpha = 2).

    Args:
        x (np.ndarray): Unit vectors of one view, shape (N, D).
        y (np.ndarray): Unit vectors of the other view of the same images, shape (N, D).

    Returns:
        float: In [0, 4].
    """
    return float(((x.astype(np.float64) - y) ** 2).sum(axis=1).mean())


def uniformity(x: np.ndarray, chunk: int = 1024) -> float:
    """Log of the mean Gaussian potential of all pairs: lower is more uniform (Wang & Isola 2020).

    log of the mean of exp(-2 |x_i - x_j|^2) over i < j, t being 2.

    Args:
        x (np.ndarray): Unit vectors, shape (N, D), N at least 2.
        chunk (int): Rows whose distances to all others are held at a time.

    Returns:
        float: In [-8, 0].
    """
    x = x.astype(np.float64)
    own = (x * x).sum(axis=1)
    total = 0.0
    for start in range(0, len(x), chunk):
        rows = slice(start, start + chunk)
        total += np.exp(-2 * (own[rows, None] + own - 2 * x[rows] @ x.T)).sum()
    # Each row with itself has added exp(0).
    return float(np.log((total - len(x)) / (len(x) * (len(x) - 1))))
