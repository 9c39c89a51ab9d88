"""Whether clusters of unequal size are found: sizes equal, given, and estimated in training.

Takes a long-tailed part of a config's training data: of K classes, each next one has fewer images,
exponentially, down to a tenth. Labels say which images are taken, how large clusters are where
sizes are given, and what is right; training sees none. Tests on all held-out images, and on a
long-tailed part of them.
Usage: python benchmarks/unequal_clusters.py [CONFIG ...] [--sizes equal given estimated]
[--seeds 3] [--ratio 10] [--largest N] [--cfg-options KEY=VALUE ...]
"""

import argparse
from pathlib import Path
from typing import Optional

import numpy as np
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS

from cdc_mm import apis
from cdc_mm.checkpoints import newest_checkpoint
from cdc_mm.evaluation.functional import label_metrics
from cdc_mm.tables import markdown_table, mean_std

SIZES = ('equal', 'given', 'estimated')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('configs', nargs='*', default=['configs/cdc_digits.py'])
    parser.add_argument('--sizes', nargs='+', choices=SIZES, default=SIZES)
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--ratio', type=float, default=10, help='of the largest to the smallest')
    parser.add_argument('--largest', type=int, help='images of the largest class (default: all)')
    parser.add_argument('--work-dir', default='work_dirs/unequal_clusters')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    args = parser.parse_args()
    lines = []
    for config in args.configs:
        lines += measure(config, args)
    header = ('config', 'sizes', 'ACC', 'NMI', 'ARI', 'ACC, long-tailed', 'NMI', 'ARI', 'by seed')
    print('\n' + markdown_table(header, lines))


def measure(config: str, args: argparse.Namespace) -> list:
    """Lines of the table for a config."""
    cfg = apis.read_config(config, args.cfg_options)
    init_default_scope('mmpretrain')
    chosen, sizes = long_tail(labels_of(cfg.train_dataloader), args.ratio, args.largest)
    truth = labels_of(cfg.test_dataloader)
    tail, _ = long_tail(truth, args.ratio)
    print(f'{config}: {len(chosen)} images in classes of {sizes}', flush=True)
    settings = dict(
        equal=None,
        given=dict(type='SinkhornAssigner', cluster_sizes=sizes),
        estimated=dict(type='SinkhornAssigner', cluster_sizes='estimated'),
    )
    field = f'train_dataloader.dataset.{"dataset." * is_of_rows(cfg.train_dataloader)}indices'
    lines = []
    for name in args.sizes:
        assigner = settings[name]
        options = {field: chosen.tolist(), **args.cfg_options}
        if assigner is not None:
            options['model.head.assigner'] = assigner
        folder = f'{args.work_dir}/{name}'
        chains = apis.plan_seeds([config], args.seeds, folder, options)
        apis.run_chains(chains, [None])
        all_of, tail_of = [], []
        for (run,) in chains:
            with np.load(run.predictions_file, allow_pickle=False) as kept:
                clusters = kept['cluster']
            all_of.append(figures(truth, clusters))
            tail_of.append(figures(truth[tail], clusters[tail]))
            if name == 'estimated':
                state = apis.read_state_dict(newest_checkpoint(str(run.folder)))
                shares = np.sort(state['head.assigner.sizes'].numpy())[::-1]
                shares = ' '.join(f'{share:.3f}' for share in shares)
                print(f'{config}, seed {run.seed}, estimated: {shares}')
        columns = [mean_std(column) for column in zip(*(a + b for a, b in zip(all_of, tail_of)))]
        by_seed = ', '.join(f'{acc:.1f}' for acc, *_ in all_of)
        lines.append((Path(config).stem, name, *columns, by_seed))
        print(*lines[-1], flush=True)
    return lines


def is_of_rows(loader: Config) -> bool:
    """Whether the data are rows of images, and not images."""
    return loader.dataset.type == 'FeatureDataset'


def labels_of(loader: Config) -> np.ndarray:
    """The classes of the images of a data set, (N,)."""
    dataset = loader.dataset.dataset if is_of_rows(loader) else loader.dataset
    return np.asarray(DATASETS.build(dataset).get_gt_labels())


def long_tail(labels: np.ndarray, ratio: float, largest: Optional[int] = None) -> tuple:
    """Numbers of the images of a part where classes differ in size, and those sizes."""
    counts = np.bincount(labels)
    shares = ratio ** -(np.arange(len(counts)) / (len(counts) - 1))
    whole = min(counts / shares)
    sizes = (min(whole, largest or whole) * shares).astype(int)
    rng = np.random.RandomState(0)
    drawn = [
        rng.permutation(np.flatnonzero(labels == label))[:size] for label, size in enumerate(sizes)
    ]
    return np.sort(np.concatenate(drawn)), sizes.tolist()


def figures(labels: np.ndarray, clusters: np.ndarray) -> list:
    """ACC, NMI and ARI in percent."""
    result = label_metrics(labels, clusters, len(np.unique(labels)))
    return [result[name] for name in ('acc', 'nmi', 'ari')]


if __name__ == '__main__':
    main()
