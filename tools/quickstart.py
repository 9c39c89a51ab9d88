#!/usr/bin/env python
"""Train CDC on handwritten digits, evaluate the held-out split and compare with k-means."""

import argparse
import os.path as osp

import mmengine
import numpy as np
from mmengine.config import Config, DictAction

CONFIG = osp.join(osp.dirname(osp.dirname(osp.abspath(__file__))), 'configs', 'cdc_digits.py')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--work-dir', default=osp.join('work_dirs', 'cdc_digits'))
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='override config entries: key=value'
    )
    return parser.parse_args()


def kmeans_on_pixels(cfg: Config, seed: int) -> dict:
    """k-means fitted on the training pixels, evaluated on the held-out ones like CDC."""
    from mmpretrain.registry import DATASETS
    from sklearn.cluster import KMeans

    from cdc_mm.evaluation.functional import label_metrics

    def load(dataset_cfg: dict) -> tuple:
        dataset = DATASETS.build(dataset_cfg)
        infos = [dataset.get_data_info(i) for i in range(len(dataset))]
        pixels = np.stack([info['img'].ravel() for info in infos]).astype(np.float64)
        return pixels, np.array([info['gt_label'] for info in infos])

    num_clusters = cfg.model.head.num_clusters
    kmeans = KMeans(num_clusters, n_init=10, random_state=seed)
    kmeans.fit(load(cfg.train_dataloader.dataset)[0])
    pixels, labels = load(cfg.test_dataloader.dataset)
    return label_metrics(labels, kmeans.predict(pixels), num_clusters)


def main() -> None:
    args = parse_args()

    from cdc_mm import apis

    with apis.clear_errors():
        cfg = apis.read_config(CONFIG)
        cfg.merge_from_dict(
            {
                'work_dir': args.work_dir,
                'randomness.seed': args.seed,
                **(args.cfg_options or {}),
            }
        )
        apis.set_dataloader_defaults(cfg)
        runner = apis.build_runner(cfg)
        apis.prepare_training(runner)
    with apis.clear_run_errors():
        runner.train()
        metrics = runner.test()

    cdc = {name: metrics[f'clustering/{name}'] for name in ('acc', 'nmi', 'ari')}
    rows = {'k-means on pixels': kmeans_on_pixels(cfg, args.seed), 'CDC': cdc}
    mmengine.dump(dict(seed=args.seed, **rows), osp.join(args.work_dir, 'quickstart.json'))
    checkpoint = osp.join(args.work_dir, f'epoch_{runner.epoch}.pth')
    print(
        f'\nHeld-out digits: {metrics["clustering/num_samples"]} images that training never saw, '
        f'seed {args.seed}, percent\n\n'
        f'{"":20}{"ACC":>7}{"NMI":>7}{"ARI":>7}'
    )
    for method, row in rows.items():
        print(f'{method:20}' + ''.join(f'{row[name]:7.1f}' for name in ('acc', 'nmi', 'ari')))
    print(
        f'\ncheckpoint  {checkpoint}\n'
        f'picture     {osp.join(args.work_dir, "contact_sheet.png")}\n'
        '\nNext: evaluate the checkpoint again, or train on your own data (see the README)\n'
        f'  source .venv/bin/activate\n'
        f'  tools/test.py configs/cdc_digits.py {checkpoint}'
    )


if __name__ == '__main__':
    main()
