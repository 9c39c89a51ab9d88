"""Pretexts and CDC from scratch on photographs of 32 pixels, with a network for a CPU.

Each is its config for CIFAR-10 (``*_r18_cifar10.py``), with a small network in place of the
ResNet-18, fewer images and fewer epochs, the same for all. Class folders of TRAIN and TEST say what
is right; they are looked at for the figures alone. The features of the last checkpoint are judged
on images that training has not seen: by kNN, which uses labels, and by k-means and SCAN's heads,
which do not; of CDC its own clusters, too.

Usage: python benchmarks/from_scratch.py TRAIN TEST [--methods cdc simclr ...] [--num-train 10000]
       [--num-test 2000] [--epochs 40] [--amp] [--seeds 1] [--first-seed 0] [--out DIR]
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch
from folder import PlainSCAN
from sklearn.cluster import KMeans

from cdc_mm import apis
from cdc_mm.evaluation.functional import cluster_accuracy, knn_accuracy, unit_rows
from cdc_mm.shipped import find_shipped
from cdc_mm.tables import markdown_table

CONFIGS = dict(
    cdc='configs/cdc_r18_cifar10.py',
    **{
        name: f'configs/baselines/{name}/{name}_r18_cifar10.py'
        for name in ('simclr', 'mocov2', 'swav', 'byol')
    },
)
WIDTH, RESNET_WIDTH = 256, 512
BACKBONE = dict(
    type='SmallConvNet', in_channels=3, channels=(32, 64, 128, WIDTH), strides=(2, 2, 2, 1)
)


def small_config(name: str, args: argparse.Namespace, seed: int):
    """The config of a method on the small network, the images as files."""
    cfg = apis.read_config(CONFIGS[name], dict(epochs=args.epochs, batch_size=args.batch_size))
    cfg.optim_wrapper.optimizer.lr *= args.batch_size / cfg.auto_scale_lr.base_batch_size
    norm = cfg.model.backbone.get('norm_cfg')
    cfg.model.backbone = dict(BACKBONE, norm_cfg=norm) if norm else BACKBONE
    assert cfg.model.neck.in_channels == RESNET_WIDTH
    cfg.model.neck.in_channels = WIDTH
    cfg.data_preprocessor.to_rgb = True
    order = np.random.RandomState(1000)  # the same images for all methods and seeds
    for split, folder, count in (
        ('train', args.train, args.num_train),
        ('test', args.test, args.num_test),
    ):
        total = sum(1 for _ in folder.glob('*/*'))
        loader = cfg[f'{split}_dataloader']
        loader.dataset = dict(
            type='ImageFolder',
            data_root=str(folder),
            indices=sorted(order.permutation(total)[:count].tolist()),
            pipeline=[dict(type='LoadImage'), dict(type='PackInputs')],
        )
        loader.update(num_workers=0, persistent_workers=False)
    cfg.train_dataloader.dataset.with_label = False
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.default_hooks.checkpoint.update(interval=args.epochs, save_best=None)
    cfg.default_hooks.pop('contact_sheet', None)
    cfg.randomness = dict(seed=seed)
    cfg.work_dir = str(args.out / name / f'seed{seed}')
    cfg.experiment_name = f'{name}{seed}'
    if args.amp:
        apis.use_amp(cfg)
    return cfg


def train(cfg) -> float:
    """Train; seconds of processor time."""
    apis.set_dataloader_defaults(cfg)
    runner = apis.build_runner(cfg)
    apis.prepare_training(runner)
    start = time.process_time()
    runner.train()
    return time.process_time() - start


def judge(name: str, cfg, checkpoint: str, seed: int) -> dict:
    """Percent: kNN of the nearest 200, ACC of k-means, of SCAN, and of a method's own clusters."""
    extract = apis.FeatureExtractor(cfg, checkpoint, cache_dir=Path(cfg.work_dir) / 'features')
    seen, new = extract('train'), extract('test')
    labels, new_labels = np.array(seen.labels), np.array(new.labels)
    rows, new_rows = unit_rows(seen.rows), unit_rows(new.rows)
    k = len(np.unique(labels))
    found = dict(kNN=knn_accuracy(new_rows, new_labels, rows, labels, 200, [0.07])[0.07])
    kmeans = KMeans(k, n_init=10, random_state=seed).fit(rows)
    scan = PlainSCAN(k, random_state=seed).fit(np.asarray(seen.rows[:], np.float32))
    for clusterer, clusters in (
        ('k-means', kmeans.predict(new_rows)),
        ('SCAN', scan.predict(np.asarray(new.rows[:], np.float32))),
    ):
        found[clusterer] = 100 * cluster_accuracy(new_labels, clusters)
    if name == 'cdc':
        cfg.load_from = checkpoint
        found['itself'] = apis.build_runner(cfg).test()['clustering/acc']
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('train', type=Path)
    parser.add_argument('test', type=Path)
    parser.add_argument('--methods', nargs='+', default=list(CONFIGS), choices=CONFIGS)
    parser.add_argument('--num-train', type=int, default=10_000)
    parser.add_argument('--num-test', type=int, default=2000)
    parser.add_argument('--epochs', type=int, default=40)
    parser.add_argument('--batch-size', type=int, default=256)
    parser.add_argument('--amp', action='store_true', help='bfloat16, as of tools/train.py')
    parser.add_argument('--seeds', type=int, default=1)
    parser.add_argument('--first-seed', type=int, default=0)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/from_scratch'))
    args = parser.parse_args()

    columns = ('kNN', 'k-means', 'SCAN', 'itself')
    figures = {name: {column: [] for column in (*columns, 'CPU s')} for name in args.methods}
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for name in args.methods:
            CONFIGS[name] = str(find_shipped(CONFIGS[name]))
            cfg = small_config(name, args, seed)
            seconds = train(cfg.copy())
            checkpoint = str(Path(cfg.work_dir) / f'epoch_{args.epochs}.pth')
            found = judge(name, cfg, checkpoint, seed)
            found['CPU s'] = seconds
            print(f'{name}, seed {seed}: {found}', flush=True)
            for column, value in found.items():
                figures[name][column].append(value)
    print(
        f'\n{args.num_train} images, {args.epochs} epochs, {args.seeds} seeds; {args.num_test} '
        f'others to judge by; {os.cpu_count()} cores, {torch.get_num_threads()} threads\n'
    )
    table = [
        [name, *(text(figures[name][column]) for column in (*columns, 'CPU s'))]
        for name in args.methods
    ]
    print(markdown_table(('method', *columns, 'CPU s'), table))


def text(values: list) -> str:
    if len(values) < 2:
        return f'{values[0]:.1f}' if values else ''
    return f'{np.mean(values):.1f} +- {np.std(values, ddof=1):.1f}'


if __name__ == '__main__':
    main()
