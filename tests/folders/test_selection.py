"""Which images are shown, against plain loops."""

import dataclasses

import numpy as np
import pytest
from folder_results import random_assignments

from cdc_mm.folders.results import find_near_duplicates
from cdc_mm.folders.selection import (
    groups_of_copies,
    least_certain,
    most_typical,
    nearest_misses,
    spread,
)


@pytest.fixture(params=[0, 1, 2])
def images(request):
    images = random_assignments(300, 7, duplicates=20, seed=request.param, near=15)
    # Values that are equal, and some that are not known.
    distance = images.distance.round(1)
    distance[::9] = np.nan
    confidence = images.confidence.round(1)
    changed = dict(distance=distance, confidence=confidence)
    if request.param == 1:  # a cluster without an image
        cluster = np.where(images.cluster == 3, 4, images.cluster)
        changed.update(cluster=cluster, second=np.where(images.second == cluster, 5, images.second))
        changed['second'][(cluster == 5) & (changed['second'] == 5)] = 6
    return dataclasses.replace(images, **changed)


def loop(images, count, belongs, key):
    found = []
    for k in range(images.num_clusters):
        here = [i for i in range(len(images)) if not images.is_copy[i] and belongs(i, k)]
        found.append(sorted(here, key=lambda i: (*key(i), i))[:count])
    return found


def as_lists(found):
    return [indices.tolist() for indices in found]


def test_most_typical(images):
    def key(i):
        distance = images.distance[i]
        return (np.inf if np.isnan(distance) else distance), -images.confidence[i]

    expected = loop(images, 6, lambda i, k: images.cluster[i] == k and not images.outlier[i], key)
    assert as_lists(most_typical(images, 6)) == expected


def test_least_certain(images):
    expected = loop(
        images, 5, lambda i, k: images.cluster[i] == k, lambda i: (images.confidence[i],)
    )
    assert as_lists(least_certain(images, 5)) == expected


def test_nearest_misses(images):
    expected = loop(
        images, 5, lambda i, k: images.second[i] == k, lambda i: (-images.second_confidence[i],)
    )
    found = as_lists(nearest_misses(images, 5))
    assert found == expected
    assert all(images.cluster[i] != k for k, indices in enumerate(found) for i in indices)


def test_one_cluster_has_no_misses():
    assert as_lists(nearest_misses(random_assignments(5, 1), 3)) == [[]]
    assert len(most_typical(random_assignments(5, 1), 3)[0]) == 3


@pytest.mark.parametrize('count', [1, 5, 7, 50, 299, 300, 1000])
def test_a_part_keeps_the_shares(images, count):
    groups = images.cluster
    chosen = spread(groups, count)
    assert len(chosen) == min(count, 300) == len(set(chosen.tolist()))
    assert (np.diff(chosen) > 0).all()
    sizes, taken = np.bincount(groups, minlength=7), np.bincount(groups[chosen], minlength=7)
    if count >= 7:
        assert (taken[sizes > 0] >= 1).all()
        assert np.abs(taken - sizes * min(count, 300) / 300).max() < 2
    else:
        assert set(groups[chosen]) <= set(np.argsort(-sizes, kind='stable')[:count])
    assert (taken <= sizes).all()


def test_a_part_of_one_group_is_even():
    np.testing.assert_array_equal(spread(np.zeros(100, int), 4), [0, 25, 50, 75])


@pytest.mark.parametrize('seed', range(3))
def test_near_duplicates_are_what_pairs_and_copies_connect(seed):
    rng = np.random.RandomState(seed)
    count = 60
    pairs = rng.randint(0, count, (25, 2))
    equal = rng.randint(0, 12, count)  # some kinds of equal images, the others alone
    equal = np.where(rng.rand(count) < 0.3, equal, 100 + np.arange(count))
    duplicate_of = np.array([np.flatnonzero(equal == kind)[0] for kind in equal])
    duplicate_of = np.where(duplicate_of == np.arange(count), -1, duplicate_of)
    groups = [{i} for i in range(count)]
    for i, j in [*pairs, *((i, first) for i, first in enumerate(duplicate_of) if first >= 0)]:
        one, other = (next(group for group in groups if k in group) for k in (i, j))
        if one is not other:
            one |= other
            groups.remove(other)
    found = find_near_duplicates(pairs, np.full(count, -1), duplicate_of)
    for group in groups:
        for i in group:
            expected = -1 if i == min(group) or duplicate_of[i] >= 0 else min(group)
            assert found[i] == expected
    images = dataclasses.replace(
        random_assignments(count, 2), duplicate_of=duplicate_of, near_duplicate_of=found
    )
    expected = sorted((-len(group), sorted(group)) for group in groups if len(group) > 1)
    assert as_lists(groups_of_copies(images, 4)) == [group for _, group in expected[:4]]
    same = find_near_duplicates(pairs, duplicate_of, np.full(count, -1))
    first = [min(next(group for group in groups if i in group)) for i in range(count)]
    assert same.tolist() == [-1 if first[i] == i else first[i] for i in range(count)]
