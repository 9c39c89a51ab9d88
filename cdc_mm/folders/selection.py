"""Which images of each cluster to show: plain functions of the assignments."""

from itertools import pairwise
from typing import List

import numpy as np

from .assignments import Assignments


def most_typical(assignments: Assignments, count: int) -> List[np.ndarray]:
    """The images nearest to the centre of their cluster; the most confident where that is unknown.

    Outliers and all but the first of images that equal, or hardly differ from, each other are left
    out.

    Args:
        assignments (Assignments): N images, K clusters.
        count (int): How many of each cluster at most.

    Returns:
        list[np.ndarray]: For each cluster the indices of its images, the most typical first. Of
        equal ones the more confident comes first, then the lower index.
    """
    chosen = ~assignments.outlier & ~assignments.is_copy
    distance = np.where(np.isnan(assignments.distance), np.inf, assignments.distance)
    return _first(
        assignments, chosen, assignments.cluster, count, distance, -assignments.confidence
    )


def least_certain(assignments: Assignments, count: int) -> List[np.ndarray]:
    """The images of each cluster with the least confidence, see :func:`most_typical`.

    All but the first of images that hardly differ are left out.
    """
    chosen = ~assignments.is_copy
    return _first(assignments, chosen, assignments.cluster, count, assignments.confidence)


def nearest_misses(assignments: Assignments, count: int) -> List[np.ndarray]:
    """For each cluster the images of others that came nearest to it, see :func:`most_typical`.

    Those whose second choice it is, by the confidence of that, the highest first; all but the
    first of images that hardly differ are left out.
    """
    chosen = ~assignments.is_copy & (assignments.second >= 0)
    return _first(assignments, chosen, assignments.second, count, -assignments.second_confidence)


def groups_of_copies(assignments: Assignments, count: int) -> List[np.ndarray]:
    """Images that equal, or hardly differ from, each other.

    Args:
        assignments (Assignments): N images.
        count (int): How many groups at most.

    Returns:
        list[np.ndarray]: Indices of the images of each group, ascending; the largest group first,
        of equally large ones that with the lowest index.
    """
    equal = assignments.duplicate_of
    first = np.where(equal < 0, np.arange(len(assignments)), equal)
    near = assignments.near_duplicate_of[first]
    first = np.where(near < 0, first, near)
    sizes = np.bincount(first, minlength=len(first))
    largest = np.argsort(-sizes, kind='stable')[:count]
    return [np.flatnonzero(first == leader) for leader in largest if sizes[leader] > 1]


def spread(groups: np.ndarray, count: int) -> np.ndarray:
    """A part of the images that keeps the shares of their groups.

    Args:
        groups (np.ndarray): Group of each image, shape (N,), 0 or more.
        count (int): How many to take; at least one of each group is, while that is not more.

    Returns:
        np.ndarray: Their indices, ascending, ``min(N, count)`` of them; in each group evenly
        spaced in the order of the images.
    """
    if len(groups) <= count:
        return np.arange(len(groups))
    sizes = np.bincount(groups)
    used = np.flatnonzero(sizes)
    if len(used) >= count:
        used = used[np.argsort(-sizes[used], kind='stable')][:count]
    # One each, the rest by their shares; what rounding leaves goes to the largest remainders.
    exact = (sizes[used] - 1) * ((count - len(used)) / max((sizes[used] - 1).sum(), 1))
    take = exact.astype(int)
    rest = np.argsort(take - exact, kind='stable')[: count - len(used) - take.sum()]
    take[rest] += 1
    order = np.argsort(groups, kind='stable')
    start = np.concatenate([[0], np.cumsum(sizes)])
    parts = [
        order[start[group] + np.arange(number) * sizes[group] // number]
        for group, number in zip(used, take + 1)
    ]
    return np.sort(np.concatenate(parts))


def _first(assignments, chosen, groups, count, *keys) -> List[np.ndarray]:
    index = np.flatnonzero(chosen)
    # The last key of lexsort is the first to be looked at; the order of the images is kept.
    order = np.lexsort([key[index] for key in reversed(keys)] + [groups[index]])
    index = index[order]
    starts = np.searchsorted(groups[index], np.arange(assignments.num_clusters + 1))
    return [index[low : min(low + count, high)] for low, high in pairwise(starts)]
