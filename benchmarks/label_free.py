"""Figures that need no labels against ACC: Spearman's rank correlation over many clusterings.

A data set is either a folder of runs of tools/run_seeds.py on images that are arrays (the digits),
or a file of rows that are clustered here by k-means, Gaussian mixtures and linear heads as SCAN
trains them, well and badly, with three seeds each.

Usage: python benchmarks/label_free.py [--runs NAME=FOLDER ...] [--rows NAME=FILE.npz ...]

A file has the arrays train (N, D), test (M, D) and labels (M,) of the test rows; with `space`
(M, E), the figures are computed from those rows and not from the ones that were clustered.
"""

import argparse
import time
from itertools import groupby
from pathlib import Path
from typing import Iterator, List, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from scipy.stats import spearmanr
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import NearestNeighbors

from cdc_mm.evaluation.functional import (
    agreement,
    cluster_accuracy,
    cluster_stability,
    linear_consistency,
    silhouette,
    size_metrics,
    unit_rows,
)
from cdc_mm.tables import markdown_table

SEEDS = 3


class Run(NamedTuple):
    """A clustering of the test rows, and what it is one of several seeds of."""

    setting: str
    clusters: np.ndarray


class Data(NamedTuple):
    """Clusterings of the same rows, those of a setting one after the other."""

    rows: np.ndarray
    labels: np.ndarray
    runs: List[Run]


def read_runs(folder: Path) -> Data:
    """The runs that tools/run_seeds.py left below a folder."""
    from mmpretrain.registry import DATASETS

    import cdc_mm  # noqa: F401

    files = sorted(folder.rglob('predictions.npz'))
    cfg = Config.fromfile(files[0].parent.with_suffix('.py'))
    cfg.test_dataloader.dataset.pop('_scope_', None)
    dataset = DATASETS.build(dict(cfg.test_dataloader.dataset, _scope_='mmpretrain'))
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    rows = np.stack([info['img'].ravel() for info in infos]).astype(np.float32)
    runs = [Run(str(f.parent.parent), np.load(f, allow_pickle=False)['cluster']) for f in files]
    return Data(rows, np.array([info['gt_label'] for info in infos]), runs)


def cluster_rows(file: Path) -> Data:
    """Cluster the rows of a file in many ways."""
    with np.load(file, allow_pickle=False) as arrays:
        train, test = (arrays[name].astype(np.float32) for name in ('train', 'test'))
        labels = arrays['labels']
        space = arrays.get('space', test)
    runs = list(clusterings(train, test, len(np.unique(labels))))
    return Data(space, labels, sorted(runs, key=lambda run: run.setting))


def clusterings(train: np.ndarray, test: np.ndarray, k: int) -> Iterator[Run]:
    """Clusters of the test rows by methods that were fitted on the training rows."""
    mean, std = train.mean(0), train.std(0) + 1e-6
    standard = (train - mean) / std, (test - mean) / std
    unit = unit_rows(train), unit_rows(test)
    pca = PCA(50, random_state=0).fit(unit[0])
    parts = [pca.transform(rows).astype(np.float32) for rows in unit]
    neighbors = NearestNeighbors(n_neighbors=21).fit(unit[0]).kneighbors(return_distance=False)
    for seed in range(SEEDS):

        def kmeans(rows, seed=seed, **kwargs):
            model = KMeans(k, **{'n_init': 1, 'random_state': seed, **kwargs})
            return model.fit(rows[0]).predict(rows[1])

        yield Run('k-means', kmeans(unit))
        yield Run('k-means, 10 restarts', kmeans(unit, n_init=10))
        yield Run('k-means, 1 iteration', kmeans(unit, init='random', max_iter=1))
        yield Run('k-means, standardised', kmeans(standard))
        for d in (2, 5, 20, 50):
            yield Run(f'k-means, {d} components', kmeans([rows[:, :d] for rows in parts]))
        mixture = GaussianMixture(k, reg_covar=1e-4, random_state=seed).fit(parts[0][:, :32])
        yield Run('Gaussian mixture', mixture.predict(parts[1][:, :32]))
        random = np.random.RandomState(seed).randn(train.shape[1], 8).astype(np.float32)
        yield Run('k-means, random projection', kmeans([rows @ random for rows in unit]))
        for epochs, near, weight in (
            (2, 20, 5),
            (10, 20, 5),
            (50, 20, 5),
            (50, 3, 5),
            (50, 20, 1.2),
        ):
            found = scan(*standard, neighbors[:, :near], k, epochs, weight, seed)
            yield Run(f'SCAN, {epochs} epochs, {near} neighbours, entropy {weight}', found)


def scan(train, test, neighbors, k, epochs, weight, seed) -> np.ndarray:
    """A linear head as SCAN trains it."""
    torch.manual_seed(seed)
    rows, neighbors = torch.from_numpy(train), torch.from_numpy(neighbors)
    head = torch.nn.Linear(rows.shape[1], k)
    optimizer = torch.optim.Adam(head.parameters(), 1e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(rows)).split(1000):
            other = neighbors[batch, torch.randint(neighbors.shape[1], (len(batch),))]
            p, q = (head(rows[numbers]).softmax(1) for numbers in (batch, other))
            entropy = torch.special.entr(p.mean(0)).sum()
            optimizer.zero_grad()
            (-(p * q).sum(1).log().mean() - weight * entropy).backward()
            optimizer.step()
    with torch.no_grad():
        return head(torch.from_numpy(test)).argmax(1).numpy()


def plain_accuracy(rows: np.ndarray, clusters: np.ndarray, classifier) -> float:
    """Cross-validated accuracy over all rows whose cluster is large enough, as TURTLE has it."""
    large = np.bincount(clusters)[clusters] >= 5
    splits = StratifiedKFold(5, shuffle=True, random_state=0)
    return cross_val_score(classifier, unit_rows(rows)[large], clusters[large], cv=splits).mean()


def figures(data: Data) -> List[dict]:
    """ACC, and what needs no labels, of each run."""
    k = len(np.unique(data.labels))
    results = []
    for _, group in groupby(data.runs, key=lambda run: run.setting):
        seeds = [run.clusters for run in group]
        agree = agreement(seeds)
        for i, clusters in enumerate(seeds):
            stable = cluster_stability(clusters, seeds[:i] + seeds[i + 1 :], k)
            start = time.perf_counter()
            result = {
                'ACC': cluster_accuracy(data.labels, clusters),
                'linear_cv': linear_consistency(data.rows, clusters, k),
            }
            middle = time.perf_counter()
            logistic = LogisticRegression(C=10, max_iter=200)
            result['logistic regression, plain'] = plain_accuracy(data.rows, clusters, logistic)
            end = time.perf_counter()
            ridge = RidgeClassifier()
            results.append(
                {
                    **result,
                    'ridge, plain': plain_accuracy(data.rows, clusters, ridge),
                    'silhouette': silhouette(data.rows, clusters),
                    'size_entropy': size_metrics(clusters, k)['size_entropy'],
                    'agreement with other seeds': agree[i],
                    'stability, mean cluster': stable.mean(),
                    'stability, worst cluster': stable.min(),
                    'seconds': (middle - start, end - middle),
                }
            )
    return results


def chosen(data: Data, results: List[dict]) -> str:
    """What choosing the best seed of a setting by linear_cv is worth, in points of ACC."""
    gains, places = [], iter(results)
    for _, group in groupby(data.runs, key=lambda run: run.setting):
        seeds = [next(places) for _ in group]
        best = max(seeds, key=lambda result: result['linear_cv'])
        mean = np.mean([result['ACC'] for result in seeds])
        gains.append(100 * (best['ACC'] - mean))
    return f'{np.mean(gains):+.1f} ({sum(gain > 0 for gain in gains)} of {len(gains)})'


def pair(text: str) -> tuple:
    name, _, path = text.partition('=')
    return name, Path(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--runs', nargs='+', type=pair, default=[], metavar='NAME=FOLDER')
    parser.add_argument('--rows', nargs='+', type=pair, default=[], metavar='NAME=FILE.npz')
    args = parser.parse_args()

    columns = {name: read_runs(folder) for name, folder in args.runs}
    columns.update({name: cluster_rows(file) for name, file in args.rows})
    results = {name: figures(data) for name, data in columns.items()}
    rows = []
    for figure in next(iter(results.values()))[0]:
        if figure not in ('ACC', 'seconds'):
            cells = []
            for runs in results.values():
                values = [[run[name] for run in runs] for name in (figure, 'ACC')]
                cells.append(f'{spearmanr(*values).statistic:.2f}')
            rows.append([figure, *cells])
    accs = {name: [100 * run['ACC'] for run in runs] for name, runs in results.items()}
    rows += [
        ['runs', *map(len, results.values())],
        ['their ACC', *(f'{min(values):.0f} to {max(values):.0f}' for values in accs.values())],
        ['ACC gained by --select', *(chosen(columns[name], results[name]) for name in results)],
    ]
    print(markdown_table(['', *results], rows))
    for name, runs in results.items():
        ours, theirs = np.sum([run['seconds'] for run in runs], axis=0) / len(runs)
        print(f'{name}: linear_cv {ours:.2f} s, by logistic regression {theirs:.2f} s a run')


if __name__ == '__main__':
    main()
