"""Clusters of a folder by ImageClusterer, against others on the same features.

Class folders of TRAIN and TEST say what is right; they are looked at for the figures alone. Parts
of both are drawn, several times; each method clusters each training part with several seeds and
assigns the test part, which it has not seen. With --ratio 10 classes differ in number in both,
up to ten times, by an order that is drawn for each sample.

Usage: python benchmarks/folder.py TRAIN TEST [--num-train 5000] [--num-test 2000] [--samples 5]
       [--seeds 5] [--ratio 1] [--encoder lite2] [--store DIR]

UMAP + k-means is in the table if umap-learn is installed.
"""

import argparse
import os
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS
from sklearn.cluster import KMeans
from unequal_clusters import long_tail

from cdc_mm import ImageClusterer
from cdc_mm.engine import read_config
from cdc_mm.evaluation.functional import label_metrics, unit_rows
from cdc_mm.folders import find_encoder
from cdc_mm.folders.image_clusterer import RECIPE
from cdc_mm.shipped import find_shipped
from cdc_mm.tables import markdown_table


class PlainSCAN(ImageClusterer):
    """As in the paper of SCAN: whole rows, 10 heads, the one of least loss."""

    def _recipe(self, *args) -> Config:
        cfg = super()._recipe(*args)
        cfg.model.update(num_components=None, num_heads=10)
        cfg.optim_wrapper.optimizer.lr = 1e-3
        cfg.custom_hooks = []
        return cfg


def by_clusterer(kind, **kwargs):
    return lambda train, test, k, seed: (
        kind(k, random_state=seed, **kwargs).fit(train).predict(test)
    )


def by_kmeans(train, test, num_clusters, seed):
    model = KMeans(num_clusters, n_init=10, random_state=seed).fit(unit_rows(train))
    return model.predict(unit_rows(test))


def by_umap(train, test, num_clusters, seed):
    import umap

    reducer = umap.UMAP(n_components=10, n_neighbors=20, min_dist=0.0, random_state=seed)
    points = reducer.fit_transform(unit_rows(train))
    model = KMeans(num_clusters, n_init=10, random_state=seed).fit(points)
    return model.predict(reducer.transform(unit_rows(test)))


METHODS = {
    'k-means (unit rows, 10 restarts)': by_kmeans,
    'UMAP (unit rows, 10-d) + k-means': by_umap if find_spec('umap') else None,
    'SCAN (10 heads, least loss)': by_clusterer(PlainSCAN),
    '**ImageClusterer**': by_clusterer(ImageClusterer),
    'ImageClusterer, balanced=False': by_clusterer(ImageClusterer, balanced=False),
}


def classes_of(folder: Path) -> np.ndarray:
    """The class of each image of a folder."""
    init_default_scope('mmpretrain')
    images = DATASETS.build(dict(type='ImageFolder', data_root=str(folder), pipeline=[]))
    return np.array([images.get_data_info(i)['gt_label'] for i in range(len(images))])


def read(folder: Path, chosen: np.ndarray, args: argparse.Namespace) -> np.ndarray:
    """Rows of the images of these numbers, ascending, as ImageClusterer makes them."""
    encoder = find_encoder(args.encoder)
    size = dict(image_size=encoder.image_size) if encoder.image_size else {}
    cfg = read_config(find_shipped(RECIPE), size)
    images = dict(cfg.test_images, data_root=str(folder), indices=chosen.tolist())
    rows = dict(
        cfg.val_dataloader.dataset,
        dataset=images,
        encoder=encoder.config,
        store_dir=args.store,
    )
    return np.asarray(DATASETS.build(rows).rows)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--encoder', default=ImageClusterer().encoder)
    parser.add_argument('--store', default='work_dirs/features')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('train', type=Path)
    parser.add_argument('test', type=Path)
    parser.add_argument('--num-train', type=int, default=5000)
    parser.add_argument('--num-test', type=int, default=2000)
    parser.add_argument('--samples', type=int, default=5)
    parser.add_argument('--seeds', type=int, default=5)
    parser.add_argument('--ratio', type=float, default=1, help='of the largest class to the least')
    add_arguments(parser)
    args = parser.parse_args()

    labels, test_labels = classes_of(args.train), classes_of(args.test)
    num_clusters = len(np.unique(labels))
    found = {name: [] for name, method in METHODS.items() if method}
    seconds = {name: 0.0 for name in found}
    for sample in range(args.samples):
        rng = np.random.RandomState(1000 + sample)
        own = np.sort(rng.permutation(len(labels))[: args.num_train])
        other = np.sort(rng.permutation(len(test_labels))[: args.num_test])
        rows, new = read(args.train, own, args), read(args.test, other, args)
        truth, new_truth = labels[own], test_labels[other]
        if args.ratio > 1:
            order = rng.permutation(num_clusters)
            kept, new_kept = (long_tail(order[y], args.ratio)[0] for y in (truth, new_truth))
            rows, new, new_truth = rows[kept], new[new_kept], new_truth[new_kept]
        for name in found:
            figures = []
            for seed in range(args.seeds):
                start = time.perf_counter()
                clusters = METHODS[name](rows, new, num_clusters, seed)
                seconds[name] += time.perf_counter() - start
                judged = label_metrics(new_truth, clusters, num_clusters)
                figures.append([judged['acc'], judged['nmi']])
            found[name].append(figures)
            print(f'sample {sample}, {name}: {np.round(figures, 1).tolist()}', flush=True)
    print(
        f'\nACC of {len(new)} images not seen, {len(rows)} to cluster, {num_clusters} '
        f'clusters; {args.samples} samples, {args.seeds} seeds each; {os.cpu_count()} cores\n'
    )
    table = []
    for name, values in found.items():
        values, nmi = np.moveaxis(np.array(values), 2, 0)
        spread = values.std(axis=1, ddof=1).mean() if args.seeds > 1 else 0.0
        by_sample = ', '.join(f'{value:.1f}' for value in values.mean(axis=1))
        cost = seconds[name] / values.size
        figures = [f'{x:.1f}' for x in (values.mean(), spread, nmi.mean())]
        table.append([name, *figures[:2], by_sample, figures[2], f'{cost:.0f}'])
    header = (
        'method', 'mean ACC', 'std over seeds', 'mean of each sample', 'mean NMI', 'seconds a run'
    )  # fmt: skip
    print(markdown_table(header, table))


if __name__ == '__main__':
    main()
