"""How well a folder of a few kinds of images is clustered, over all choices of the kinds.

Class folders of TRAIN say what is right; they are looked at for the figures alone. For each set of
classes images are drawn at random, clustered by ImageClusterer and by k-means on the same rows, and
both are judged on these images.

Usage: python benchmarks/few_classes.py TRAIN [--num-classes 3] [--num-images 600]
       [--encoder lite2] [--store DIR]
"""

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
from folder import add_arguments, by_kmeans, classes_of, read

from cdc_mm import ImageClusterer
from cdc_mm.evaluation.functional import cluster_accuracy
from cdc_mm.tables import markdown_table

METHODS = {
    'k-means (unit rows, 10 restarts)': lambda rows, k: by_kmeans(rows, rows, k, 0),
    '**ImageClusterer**': lambda rows, k: ImageClusterer(k).fit_predict(rows),
}


def draw(labels: np.ndarray, classes: tuple, count: int) -> np.ndarray:
    """Indices of images of these classes, as many of each."""
    rng = np.random.RandomState(0)
    each = count // len(classes)
    return np.concatenate([rng.permutation(np.flatnonzero(labels == c))[:each] for c in classes])


def judge(rows: np.ndarray, labels: np.ndarray) -> list:
    """ACC of each method on these images, percent."""
    k = len(np.unique(labels))
    return [100 * cluster_accuracy(labels, method(rows, k)) for method in METHODS.values()]


def table(found: np.ndarray) -> str:
    """Quartiles of the ACC of the methods, of sets in the rows of ``found``."""
    lines = []
    for name, values in zip(METHODS, found.T, strict=True):
        figures = np.percentile(values, (0, 25, 50, 75, 100)).round(1).tolist()
        lines.append([name, *figures, f'{(values >= 90).sum()} of {len(values)}'])
    header = ('method', 'least', 'first quartile', 'median', 'third quartile', 'largest', '>= 90')
    return markdown_table(header, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('train', type=Path)
    parser.add_argument('--num-classes', type=int, default=3)
    parser.add_argument('--num-images', type=int, default=600)
    add_arguments(parser)
    args = parser.parse_args()
    labels = classes_of(args.train)
    drawn = {
        classes: np.sort(draw(labels, classes, args.num_images))
        for classes in combinations(range(labels.max() + 1), args.num_classes)
    }
    chosen = np.unique(np.concatenate(list(drawn.values())))
    rows = read(args.train, chosen, args)
    found = []
    for classes, own in drawn.items():
        found.append(judge(rows[np.searchsorted(chosen, own)], labels[own]))
        print(f'classes {classes}: {np.round(found[-1], 1)}', flush=True)
    print(f'\n{table(np.array(found))}')


if __name__ == '__main__':
    main()
