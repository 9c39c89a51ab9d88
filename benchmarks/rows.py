"""Rivals on the rows of the same images: configs/baselines/*/*_lite0_rows.py, and scikit-learn's.

Class folders of TRAIN and TEST say what is right; they are looked at for the figures alone. A part
of both is drawn, sample 0 of benchmarks/folder.py; each method clusters the training part with
several seeds and assigns the test part, which it has not seen.

Usage: python benchmarks/rows.py TRAIN TEST [--methods scan temi k-means ...] [--num-train 5000]
       [--num-test 2000] [--seeds 5] [--first-seed 0] [--store DIR] [--cfg-options NAME=VALUE ...]
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from folder import read
from mmengine.config import DictAction
from sklearn.cluster import KMeans, SpectralClustering

from cdc_mm import apis
from cdc_mm.evaluation.functional import cluster_accuracy, unit_rows
from cdc_mm.shipped import shipped_root
from cdc_mm.tables import markdown_table

CONFIGS = {
    path.parent.name: str(path)
    for path in sorted((shipped_root() / 'configs/baselines').glob('*/*_lite0_rows.py'))
}


def by_kmeans(train, test, num_clusters, seed):
    model = KMeans(num_clusters, n_init=10, random_state=seed).fit(unit_rows(train))
    return model.predict(unit_rows(test))


def by_spectral(train, test, num_clusters, seed):
    """It assigns no new rows: each gets the cluster of the nearest training row by cosine."""
    model = SpectralClustering(
        num_clusters, affinity='nearest_neighbors', n_neighbors=10, random_state=seed
    )
    labels = model.fit_predict(unit_rows(train))
    return labels[(unit_rows(test) @ unit_rows(train).T).argmax(axis=1)]


def by_config(name, options):
    def run(train, test, num_clusters, seed):
        with tempfile.TemporaryDirectory() as folder:
            np.save(f'{folder}/rows.npy', train)
            cfg = apis.read_config(CONFIGS[name], {'num_clusters': num_clusters, **options})
            own = cfg.train_dataloader.dataset
            cfg.train_dataloader.dataset = dict(
                type='RowFile',
                path=f'{folder}/rows.npy',
                views=own.views,
                num_neighbors=own.num_neighbors,
            )
            cfg.model.update(backbone=None, in_channels=train.shape[1])
            cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
            cfg.default_hooks.pop('contact_sheet')
            cfg.randomness.seed = seed
            cfg.work_dir = f'{folder}/work'
            cfg.experiment_name = f'{name}{seed}{time.time()}'
            cfg.log_level = 'WARNING'
            apis.set_dataloader_defaults(cfg)
            runner = apis.build_runner(cfg)
            apis.prepare_training(runner)
            runner.train()
            model = runner.model.eval()
            with torch.no_grad():
                return model.scores(torch.from_numpy(test)).argmax(dim=1).numpy()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('train', type=Path)
    parser.add_argument('test', type=Path)
    parser.add_argument('--methods', nargs='+', default=['k-means', 'spectral', *CONFIGS])
    parser.add_argument('--num-train', type=int, default=5000)
    parser.add_argument('--num-test', type=int, default=2000)
    parser.add_argument('--seeds', type=int, default=5)
    parser.add_argument('--first-seed', type=int, default=0)
    parser.add_argument('--store', default='work_dirs/features')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    args = parser.parse_args()

    train, labels = read(args.train, args.store)
    test, test_labels = read(args.test, args.store)
    num_clusters = len(np.unique(labels))
    rng = np.random.RandomState(1000)
    own = np.sort(rng.permutation(len(train))[: args.num_train])
    other = np.sort(rng.permutation(len(test))[: args.num_test])
    rows, new = np.array(train[own], np.float32), np.array(test[other], np.float32)
    table = []
    for name in args.methods:
        if name in CONFIGS:
            method = by_config(name, args.cfg_options)
        else:
            method = {'k-means': by_kmeans, 'spectral': by_spectral}[name]
        accuracies, start = [], time.perf_counter()
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            clusters = method(rows, new, num_clusters, seed)
            accuracies.append(100 * cluster_accuracy(test_labels[other], clusters))
            print(f'{name}, seed {seed}: {accuracies[-1]:.1f}', flush=True)
        cost = (time.perf_counter() - start) / args.seeds
        spread = np.std(accuracies, ddof=1) if args.seeds > 1 else 0.0
        by_seed = ', '.join(f'{value:.1f}' for value in accuracies)
        table.append([name, f'{np.mean(accuracies):.1f} +- {spread:.1f}', by_seed, f'{cost:.0f}'])
    print(
        f'\nACC of {args.num_test} images not seen, {args.num_train} to cluster, {num_clusters} '
        f'clusters; {os.cpu_count()} cores, {torch.get_num_threads()} threads\n'
    )
    print(markdown_table(('method', 'ACC', 'by seed', 'seconds a run'), table))


if __name__ == '__main__':
    main()
