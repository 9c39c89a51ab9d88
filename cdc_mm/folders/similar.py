"""Images that hardly differ, as far as the network sees."""

import hashlib
from typing import Tuple, Union

import numpy as np

from cdc_mm.evaluation.functional import unit_rows
from cdc_mm.features import Rows

_NEAR = 0.95  # cosine of images that hardly differ
_ROWS = 4096  # that are compared at once


def compare_with_nearest(
    rows: Union[np.ndarray, Rows], nearest: np.ndarray
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compare rows with their nearest others, and find those that are equal.

    Args:
        rows (np.ndarray | Rows): Shape (N, D).
        nearest (np.ndarray): The others that are nearest to each, the nearest first, (N, k).

    Returns:
        tuple: Cosine similarity to the nearest (N,), pairs that hardly differ (P, 2), and the first
        row that equals each or -1 (N,).
    """
    count = len(rows)
    similarity, digests = np.full(count, np.nan, np.float32), []
    pairs = [np.empty((0, 2), np.int64)]
    for start in range(0, count, _ROWS):
        own = np.asarray(rows[start : start + _ROWS], np.float32)
        unit = unit_rows(own)
        for column in range(nearest.shape[1]):
            other = np.asarray(nearest[start : start + _ROWS, column])
            close = (unit * unit_rows(np.asarray(rows[other], np.float32))).sum(axis=1)
            if column == 0:
                similarity[start : start + _ROWS] = close
            near = np.flatnonzero(close > _NEAR)
            pairs.append(np.stack([start + near, other[near]], axis=1))
            if not len(near):
                break  # those further away are not closer
        digests += map(_digest, own)
    first = {}
    equal = np.array([first.setdefault(digest, i) for i, digest in enumerate(digests)])
    return similarity, np.concatenate(pairs), np.where(equal == np.arange(count), -1, equal)


def _digest(row: np.ndarray) -> bytes:
    return hashlib.blake2b(row.tobytes(), digest_size=16).digest()
