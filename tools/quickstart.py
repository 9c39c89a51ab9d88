#!/usr/bin/env python
"""Train CDC on handwritten digits, as in the paper and re-clustered, and compare with k-means."""

import argparse
import multiprocessing
import os
import os.path as osp
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.pool import AsyncResult
from typing import TYPE_CHECKING, Callable, Tuple

import early  # noqa: F401  (first)
import numpy as np
from mmengine.config import Config
from shared_args import OptionsAction

if TYPE_CHECKING:
    from mmengine.runner import Runner

CONFIGS = osp.join(osp.dirname(osp.dirname(osp.abspath(__file__))), 'configs')
METHODS = {'CDC': 'cdc_digits', 'CDC, re-clustered': 'cdc_digits_recluster'}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--work-dir', default='work_dirs', help='root of the two work dirs')
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='remove the checkpoints of another training in the work dir; those of an earlier '
        'quickstart are removed anyway',
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=OptionsAction, help='override config entries: key=value'
    )
    return parser.parse_args()


def prepare(name: str, args: argparse.Namespace) -> Tuple[Config, 'Runner']:
    """What ends in one line ends here, before anything is trained."""
    from cdc_mm import apis

    with apis.clear_errors():
        options = {
            'work_dir': osp.join(args.work_dir, name),
            'randomness.seed': args.seed,
            **(args.cfg_options or {}),
        }
        cfg = apis.read_config(osp.join(CONFIGS, f'{name}.py'), options)
        apis.set_dataloader_defaults(cfg)
        again = apis.read_run(cfg.work_dir).get('kind') == 'quickstart'
        claim = apis.claim_work_dir(cfg, args.overwrite or again, 'quickstart')
        runner = apis.build_runner(cfg)
        apis.prepare_training(runner)
        claim.hand_to(runner)
    return cfg, runner


def train_and_test(cfg: Config, runner: 'Runner') -> Tuple[str, dict]:
    """Train and test the last checkpoint.

    Returns:
        tuple: The checkpoint and the metrics by their short names.
    """
    from cdc_mm import apis

    with apis.clear_run_errors():
        runner.train()
        metrics = runner.test()
    checkpoint = osp.join(cfg.work_dir, f'epoch_{runner.epoch}.pth')
    return checkpoint, {name.rpartition('/')[2]: value for name, value in metrics.items()}


ASIDE = []  # what the process of the second training has prepared


def aside(step: Callable, *args) -> tuple:
    """Of the second training, in a process of its own: what it would print is in its log.

    Returns:
        tuple: What the step returned, None; or None, the line it ended with.
    """
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first one's process ends it
    with open(os.devnull, 'w') as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        try:
            return step(*args), None
        except SystemExit as stopped:  # which a pool would wait for without end
            return None, str(stopped)


def prepare_aside(name: str, args: argparse.Namespace) -> None:
    ASIDE.extend(prepare(name, args))


def train_aside() -> Tuple[str, dict]:
    from cdc_mm import apis

    cfg, runner = ASIDE
    checkpoint, metrics = train_and_test(cfg, runner)
    with apis.clear_run_errors():
        apis.report_model(
            runner.model,
            runner.test_dataloader,
            osp.join(cfg.work_dir, 'report.html'),
            title='Handwritten digits, clustered without labels',
            summary=[('Method', 'CDC, re-clustered'), ('Images seen in training', '1,437 others')],
            sureness=dict(linear_cv=metrics['linear_cv'] / 100, silhouette=metrics['silhouette']),
            recipe=f'tools/train.py configs/{osp.basename(cfg.filename)}',
        )
    return checkpoint, metrics


def get(result: AsyncResult):
    value, error = result.get()
    if error:
        sys.exit(error)
    return value


def kmeans_rows(cfg: Config, checkpoint: str, seed: int) -> Tuple[dict, dict]:
    """k-means on pixels and on CDC's features, fitted on the training split, like CDC."""
    from mmpretrain.registry import DATASETS

    from cdc_mm import apis
    from cdc_mm.evaluation.functional import kmeans_clusters, label_metrics, unit_rows

    def pixels(dataset_cfg: dict) -> np.ndarray:
        dataset = DATASETS.build(dataset_cfg)
        infos = [dataset.get_data_info(i) for i in range(len(dataset))]
        return np.stack([info['img'].ravel() for info in infos]).astype(np.float64)

    num_clusters = cfg.model.head.num_clusters
    extract = apis.FeatureExtractor(cfg, checkpoint, cache_dir=osp.join(cfg.work_dir, 'features'))

    def evaluate(train: np.ndarray, test: np.ndarray) -> dict:
        clusters = kmeans_clusters(train, test, num_clusters, seed=seed)
        return label_metrics(np.array(extract.labels['test']), clusters, num_clusters)

    train, test = (pixels(cfg[f'{split}_dataloader'].dataset) for split in ('train', 'test'))
    features = {split: unit_rows(extract(split).rows) for split in ('train', 'test')}
    return evaluate(train, test), evaluate(**features)


def main() -> None:
    args = parse_args()

    import torch

    from cdc_mm.atomic import dump_atomically
    from cdc_mm.tables import markdown_table, plus_minus

    # So small a network takes twice as long on two threads. One also gives the same figures on
    # every number of cores.
    torch.set_num_threads(1)
    names = ('acc', 'nmi', 'ari')
    (first, config), (second, other_config) = METHODS.items()
    work_dir = osp.join(args.work_dir, other_config)
    print(f'{first}: configs/{config}.py', flush=True)
    print(f'{second}, meanwhile: configs/{other_config}.py (log: {work_dir})', flush=True)
    # Each is on one core, so that both take no longer than one.
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        prepared = pool.apply_async(aside, (prepare_aside, other_config, args))
        cfg, runner = prepare(config, args)
        get(prepared)
        trained = pool.apply_async(aside, (train_aside,))
        checkpoint, metrics = train_and_test(cfg, runner)
        pixels, features = kmeans_rows(cfg, checkpoint, args.seed)
        rows = {'k-means on pixels': pixels, "k-means on CDC's features": features, first: metrics}
        checkpoint, rows[second] = get(trained)
    rows = {method: {name: row[name] for name in names} for method, row in rows.items()}
    dump_atomically(osp.join(args.work_dir, 'quickstart.json'), dict(seed=args.seed, **rows))
    print(
        f'\nHeld-out digits: {metrics["num_samples"]} images that training never saw, seed '
        f'{args.seed}, percent\n'
    )
    cells = [[method, *(plus_minus(row[name]) for name in names)] for method, row in rows.items()]
    print(markdown_table(['', *map(str.upper, names)], cells))
    print(
        f'\ncheckpoint  {checkpoint}\n'
        f'picture     {osp.join(work_dir, "contact_sheet.png")}\n'
        f'report      {osp.join(work_dir, "report.html")}\n'
        '\nNext: cluster a folder of your own images, or evaluate the checkpoint again\n'
        '  source .venv/bin/activate; tools/cluster.py PHOTOS --num-clusters 12 --out OUT\n'
        f'  tools/test.py configs/{other_config}.py {checkpoint}'
    )


if __name__ == '__main__':
    main()
