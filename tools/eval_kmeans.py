#!/usr/bin/env python
"""Cluster the features of a checkpoint by k-means: the pretext + k-means baseline of Table 1.

Fitted on the training images; the sizes of the clusters, and with labels ACC, NMI and ARI, are
those of the test images.
"""

import argparse
import os.path as osp

import mmengine
import numpy as np
from mmengine.config import Config, DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file: network and data')
    parser.add_argument('checkpoint', help='any pretraining checkpoint')
    parser.add_argument(
        '--num-clusters',
        type=int,
        help="default: the number of classes in the test data, or the config's num_clusters",
    )
    parser.add_argument(
        '--restarts',
        type=int,
        default=10,
        help='the one with the least inertia counts (default: 10)',
    )
    parser.add_argument('--seed', type=int, default=0, help='default: 0')
    parser.add_argument(
        '--output',
        choices=['backbone', 'z', 'zc', 'zn'],
        default='backbone',
        help='features: pooled ones of the backbone (default) or a part of z',
    )
    parser.add_argument('--out', help='file for the metrics (.json or .yaml)')
    parser.add_argument('--clusters', help='table of the cluster of each test image (.csv)')
    parser.add_argument('--bf16', action='store_true', help='compute the features in bfloat16')
    parser.add_argument(
        '--dtype',
        choices=['float32', 'float16'],
        default='float32',
        help='of the features on disk (default: float32)',
    )
    parser.add_argument(
        '--cache-dir', help='where the features lie (default: work_dirs/<config>/features)'
    )
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='load checkpoints that can run code; only for files whose maker you trust',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override config entries: key=value ..., nested keys with dots, lists as key="[a,b]"',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    # After parsing, so that --help and mistyped flags answer at once.
    from cdc_mm import apis
    from cdc_mm.evaluation.functional import (
        kmeans_clusters,
        label_metrics,
        size_metrics,
        unit_rows,
        write_clusters_table,
    )

    with apis.clear_errors():
        if args.trust_checkpoint:
            apis.trust_checkpoints()
        cfg = Config.fromfile(args.config)
        cfg.merge_from_dict(args.cfg_options or {})
        name = osp.splitext(osp.basename(args.config))[0]
        cache_dir = args.cache_dir or osp.join('work_dirs', name, 'features')
        extract = apis.FeatureExtractor(
            cfg, args.checkpoint, args.output, args.dtype, args.bf16, cache_dir
        )
        test = None
        if any(label is not None for label in extract.labels['test']):
            test = apis.labelled_rows(extract.labels['test'], 'test')
        if args.num_clusters is not None:
            num_clusters = args.num_clusters
        elif test is not None:
            num_clusters = len(np.unique(test.labels))
        else:
            num_clusters = cfg.model.head.get('num_clusters')
            if num_clusters is None:
                raise ValueError('the test images have no labels: say --num-clusters')
        num_images = len(extract.labels['train'])
        if not 2 <= num_clusters <= num_images:
            raise ValueError(
                f'--num-clusters must be between 2 and the {num_images} training images, got '
                f'{num_clusters}'
            )

    clusters = kmeans_clusters(
        unit_rows(extract('train')),
        unit_rows(extract('test')),
        num_clusters,
        args.restarts,
        args.seed,
    )
    result = dict(
        num_clusters=num_clusters,
        output=args.output,
        num_samples=len(clusters),
        **size_metrics(clusters, num_clusters),
    )
    if test is not None:
        result.update(label_metrics(test.labels, test.select(clusters), num_clusters))
    print(
        f'\nk-means, K={num_clusters}, least inertia of {args.restarts} restarts, fitted on '
        f'{num_images} training images, output {args.output}; {len(clusters)} test images\n'
    )
    if test is not None:
        print('  '.join(f'{key.upper()} {result[key]:.1f}' for key in ('acc', 'nmi', 'ari')))
    else:
        print(f'no labels; sizes of the clusters: {result["cluster_sizes"]}')
    if args.out:
        mmengine.dump(result, args.out)
    if args.clusters:
        write_clusters_table(
            args.clusters, ('image', 'cluster'), zip(extract.images['test'], clusters)
        )
        print(f'The cluster of each image: {args.clusters}')


if __name__ == '__main__':
    main()
