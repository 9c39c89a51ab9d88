"""A random result of clustering a folder, for the tests of what is written of it."""

import colorsys

import numpy as np
from PIL import Image

from cdc_mm.folders import Assignments, top_two


def random_probabilities(count, num_clusters, rng):
    return rng.dirichlet(np.full(num_clusters, 0.4), count)


def random_assignments(count, num_clusters, duplicates=0, seed=0, near=0):
    """The last images are copies of the first, those before them near duplicates of it."""
    rng = np.random.RandomState(seed)
    cluster, confidence, second, second_confidence = top_two(
        random_probabilities(count, num_clusters, rng)
    )
    near_duplicate_of = np.full(count, -1)
    near_duplicate_of[count - duplicates - near : count - duplicates] = 0
    duplicate_of = np.full(count, -1)
    duplicate_of[count - duplicates :] = 0
    return Assignments(
        paths=[f'folder {i % 7}/image_{i:05}.jpg' for i in range(count)],
        cluster=cluster,
        confidence=confidence,
        second=second,
        second_confidence=second_confidence,
        stability=rng.randint(1, 5, count) / 4,
        distance=rng.rand(count),
        outlier=rng.rand(count) < 0.05,
        duplicate_of=duplicate_of,
        names=[str(k) for k in range(num_clusters)],
        near_duplicate_of=near_duplicate_of,
    )


def thumbnail(index):
    """A picture that does not compress to nothing."""
    pixels = np.random.RandomState(index).randint(256, size=(8, 8, 3), dtype=np.uint8)
    color = np.array(colorsys.hsv_to_rgb(index % 60 / 60, 0.6, 0.9)) * 255
    mixed = (0.3 * pixels + 0.7 * color).astype(np.uint8)
    return Image.fromarray(mixed).resize((96, 72), Image.Resampling.BILINEAR)
