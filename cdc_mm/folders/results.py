"""What is written of a clustering."""

from pathlib import Path
from typing import List, Optional, Sequence, Tuple, Union

import numpy as np
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .assignments import Assignments, top_two
from .image_clusterer import ImageClusterer
from .projection import project_2d
from .report import Written, write_report
from .sources import open_picture

_FAR = 3  # interquartile ranges
_DOMINANT, _TINY = 0.8, 0.1  # shares: of all images, and of an even share


def assignments_of(
    clusterer: ImageClusterer, duplicate_of: Optional[np.ndarray] = None
) -> Assignments:
    """The table of a clustering.

    Args:
        clusterer (ImageClusterer): Fitted, N images.
        duplicate_of (np.ndarray, optional): Index of the first equal image or -1, (N,). Defaults to
            images with the same row of features.
    """
    cluster, confidence, second, second_confidence = top_two(clusterer.probabilities_)
    if duplicate_of is None:
        duplicate_of = clusterer.duplicate_of_
    near = find_near_duplicates(clusterer.near_pairs_, clusterer.duplicate_of_, duplicate_of)
    return Assignments(
        paths=_unique(clusterer.paths_),
        cluster=cluster,
        confidence=np.minimum(confidence, 1.0),
        second=second,
        second_confidence=second_confidence,
        stability=clusterer.stability_,
        distance=clusterer.distances_,
        outlier=find_outliers(clusterer.distances_, cluster),
        duplicate_of=duplicate_of,
        names=[str(k) for k in range(clusterer.n_clusters_)],
        near_duplicate_of=near,
    )


def find_near_duplicates(
    pairs: np.ndarray, same_row: np.ndarray, duplicate_of: np.ndarray
) -> np.ndarray:
    """The first of each group of images that hardly differ.

    A group is what pairs and equal images connect.

    Args:
        pairs (np.ndarray): Numbers of images that hardly differ, (P, 2).
        same_row (np.ndarray): Index of the first image with the same features or -1, (N,).
        duplicate_of (np.ndarray): Index of the first equal image or -1, (N,).

    Returns:
        np.ndarray: Index of the first of the group; -1 for the first, for those without and for
        those that equal another, (N,).
    """
    count = len(duplicate_of)
    edges = [pairs]
    for first in (same_row, duplicate_of):
        later = np.flatnonzero(first >= 0)
        edges.append(np.stack([later, first[later]], axis=1))
    i, j = np.concatenate(edges).T
    graph = coo_matrix((np.ones(len(i), bool), (i, j)), shape=(count, count))
    group = connected_components(graph, directed=False)[1]
    # Groups are numbered, and np.unique finds the first image of each.
    first = np.unique(group, return_index=True)[1][group]
    return np.where((first == np.arange(count)) | (duplicate_of >= 0), -1, first)


def find_outliers(distances: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Which images lie far out in their cluster.

    Beyond three interquartile ranges above the third quartile of the cluster (Tukey, 1977).

    Args:
        distances (np.ndarray): Of each image to the centre of its cluster, (N,).
        clusters (np.ndarray): Cluster of each, (N,).

    Returns:
        np.ndarray: Bool, (N,).
    """
    far = np.zeros(len(distances), bool)
    for k in np.unique(clusters):
        own = clusters == k
        low, high = np.percentile(distances[own], (25, 75))
        far[own] = distances[own] > high + _FAR * (high - low)
    return far


def find_warnings(clusterer: ImageClusterer, assignments: Assignments) -> List[str]:
    """What should be known of a clustering before it is used, a line each."""
    sizes = assignments.sizes
    count, num_clusters = len(assignments), len(sizes)
    lines = []
    empty = np.flatnonzero(sizes == 0)
    if len(empty):
        lines.append(
            f'{len(empty)} of {num_clusters} clusters are empty: there may be fewer clusters than '
            'were asked for.'
        )
    if sizes.max() > _DOMINANT * count:
        lines.append(
            f'Cluster {sizes.argmax()} holds {sizes.max() / count:.0%} of all images: they may be '
            'much alike, or more clusters are needed.'
        )
    tiny = np.flatnonzero((sizes > 0) & (sizes < _TINY * count / num_clusters))
    if len(tiny):
        lines.append(
            f'Clusters of very few images: {_some(tiny)}. There may be fewer clusters than were '
            'asked for.'
        )
    copies = int((assignments.duplicate_of >= 0).sum())
    if copies:
        images = '1 image is a copy of another'
        if copies > 1:
            images = f'{copies:,} images are copies of others'
        lines.append(f'{images} (duplicate_of in the table).')
    if np.isnan(clusterer.nearest_similarity_).all() and count > 1:
        lines.append('Near duplicates were not looked for among so many images.')
    near = int((assignments.near_duplicate_of >= 0).sum())
    if near:
        more = ' more' if copies else ''
        images = f'1{more} image hardly differs' if near == 1 else f'{near:,}{more} hardly differ'
        lines.append(
            f'{images} from another, as far as the network sees (near_duplicate_of in the table).'
        )
    stability = clusterer.sureness_.get('cluster_stability')
    if stability is not None:
        weak = np.flatnonzero((stability < 0.6) & (sizes > 0))
        if len(weak):
            lines.append(
                f'The heads do not find the same images in these clusters: {_some(weak)}. Take '
                'them with care.'
            )
    return lines


def write_page(
    clusterer: ImageClusterer,
    path: Union[str, Path],
    assignments: Assignments,
    title: str,
    summary: Sequence[Tuple[str, str]] = (),
    warnings: Sequence[str] = (),
    recipe: str = '',
) -> Written:
    """Write the report of a clustering, see :func:`~cdc_mm.folders.write_report`.

    Args:
        clusterer (ImageClusterer): Fitted in this process, as the images and rows are needed.
        path (str | Path): The .html file.
        assignments (Assignments): See :func:`assignments_of`.
        title (str): Of the page.
        summary (Sequence): Pairs of a label and a value that come first.
        warnings (Sequence[str]): That come first.
        recipe (str): How to make it again.

    Raises:
        RunError: If the file cannot be written.
    """
    sureness = dict(clusterer.sureness_)
    sureness['linear_cv'] /= 100
    if 'head_agreement' in sureness:
        sureness['agreement'] = sureness.pop('head_agreement')
    seen = clusterer.encoder_note_ or 'rows of features'
    if clusterer.image_size_:
        seen += f', at {clusterer.image_size_} pixels'
    facts = [
        *summary,
        ('Images', f'{len(assignments):,}'),
        ('Clusters', str(assignments.num_clusters)),
        ('Network', seen),
    ]
    return write_report(
        path,
        assignments,
        xy=project_2d(clusterer.points_, 0),
        thumbnail=lambda index: thumbnail(clusterer, index),
        title=title,
        summary=facts,
        sureness=sureness,
        warnings=[*warnings, *find_warnings(clusterer, assignments)],
        curves=clusterer.curves_,
        num_clusters=clusterer.num_clusters_,
        recipe=recipe,
    )


def thumbnail(clusterer: ImageClusterer, index: int) -> Image.Image:
    """A small picture of an image that a clusterer was fitted to.

    Raises:
        ValueError: If there is none, as of rows.
    """
    items = clusterer.items_
    if items is None:
        raise ValueError('rows of features have no picture')
    image = open_picture(items[index], str(index), min_side=256)
    image.thumbnail((256, 256))
    return image


def _unique(paths: Sequence[str]) -> List[str]:
    """The paths; one that was given again has its number behind it."""
    seen = set()
    found = []
    for i, path in enumerate(paths):
        found.append(f'{path} ({i})' if path in seen else path)
        seen.add(path)
    return found


def _some(numbers: np.ndarray) -> str:
    shown = ', '.join(map(str, numbers[:10]))
    return f'{shown}, ...' if len(numbers) > 10 else shown
