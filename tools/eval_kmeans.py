#!/usr/bin/env python
"""Cluster the features of a checkpoint by k-means: the pretext + k-means baseline of Table 1.

Fitted on the training images; the sizes of the clusters, and with labels ACC, NMI and ARI, are
those of the test images.
"""

import argparse

import early  # noqa: F401  (first)
import numpy as np
from feature_args import add_feature_args, build_extractor


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file: network and data')
    add_feature_args(parser, 'backbone')
    parser.add_argument('--out', help='file for the metrics (.json or .yaml)')
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
    parser.add_argument('--clusters', help='table of the cluster of each test image (.csv)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    # After parsing, so that --help and mistyped flags answer at once.
    from cdc_mm import apis
    from cdc_mm.atomic import check_output, dump_atomically
    from cdc_mm.evaluation.functional import (
        count_distinct,
        kmeans_clusters,
        label_metrics,
        size_metrics,
        unit_rows,
    )
    from cdc_mm.tables import write_csv

    with apis.clear_errors():
        if args.out:
            check_output(args.out, as_object=True)
        if args.clusters:
            check_output(args.clusters, '--clusters')
        extract = build_extractor(args)
        labelled = None
        if any(label is not None for label in extract.labels['test']):
            labelled = apis.labelled_rows(extract.labels['test'], 'test')
        if args.num_clusters is not None:
            num_clusters = args.num_clusters
        elif labelled is not None:
            num_clusters = len(np.unique(labelled.labels))
        else:
            num_clusters = getattr(extract.model, 'num_clusters', None)
            if num_clusters is None:
                raise ValueError('the test images have no labels: say --num-clusters')
        num_images = len(extract.labels['train'])
        if not 2 <= num_clusters <= num_images:
            raise ValueError(
                f'--num-clusters must be between 2 and the {num_images} training images, got '
                f'{num_clusters}'
            )

    with apis.clear_run_errors():
        train, test = extract('train'), extract('test')
    with apis.clear_errors():
        if num_clusters > len(train.rows):
            raise ValueError(f'K={num_clusters} is more than the {len(train.rows)} readable images')
        distinct = count_distinct(train.rows, num_clusters)
        if distinct < num_clusters:
            raise ValueError(
                f'K={num_clusters} is more than the {distinct} different rows of '
                f'{len(train.rows)} images: lower --num-clusters, or leave out copies of images'
            )
        # Anew: images that cannot be read are left out.
        if labelled is not None:
            labelled = apis.labelled_rows(test.labels, 'test')

    clusters = kmeans_clusters(
        unit_rows(train.rows), unit_rows(test.rows), num_clusters, args.restarts, args.seed
    )
    result = dict(
        num_clusters=num_clusters,
        output=args.output,
        num_samples=len(clusters),
        **size_metrics(clusters, num_clusters),
    )
    if labelled is not None:
        result.update(label_metrics(labelled.labels, labelled.select(clusters), num_clusters))
    print(
        f'\nk-means, K={num_clusters}, least inertia of {args.restarts} restarts, fitted on '
        f'{len(train.rows)} training images, output {args.output}; {len(clusters)} test images\n'
    )
    if labelled is not None:
        print('  '.join(f'{key.upper()} {result[key]:.1f}' for key in ('acc', 'nmi', 'ari')))
    else:
        print(f'no labels; sizes of the clusters: {result["cluster_sizes"]}')
    if args.out:
        with apis.clear_run_errors():
            dump_atomically(args.out, result)
    if args.clusters:
        write_csv(args.clusters, ('image', 'cluster'), zip(test.images, clusters))
        print(f'The cluster of each image: {args.clusters}')


if __name__ == '__main__':
    main()
