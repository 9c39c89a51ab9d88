#!/usr/bin/env python
"""Classify the test images by their nearest training images in the features of a checkpoint."""

import argparse

import early  # noqa: F401  (first)
from feature_args import add_feature_args, build_extractor


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file: network and data')
    add_feature_args(parser, 'backbone')
    parser.add_argument('--out', help='file for the metrics (.json or .yaml)')
    parser.add_argument('--k', type=int, default=200, help='neighbours (default: 200)')
    parser.add_argument(
        '--temperatures', type=float, nargs='+', default=[0.07, 0.1], help='default: 0.07 0.1'
    )
    args = parser.parse_args()
    if min(args.temperatures) <= 0:
        parser.error('temperatures must be above 0')
    return args


def main() -> None:
    args = parse_args()

    # After parsing, so that --help and mistyped flags answer at once.
    from mmengine.device import get_device

    from cdc_mm import apis
    from cdc_mm.atomic import check_output, dump_atomically
    from cdc_mm.evaluation.functional import knn_accuracy

    with apis.clear_errors():
        if args.out:
            check_output(args.out, as_object=True)
        extract = build_extractor(args)
        for split, name, at_least in (('train', 'training', args.k), ('test', 'test', 1)):
            apis.labelled_rows(extract.labels[split], name, at_least)
    with apis.clear_run_errors():
        train, test = extract('train'), extract('test')
    with apis.clear_errors():
        # Anew: images that cannot be read are left out.
        bank = apis.labelled_rows(train.labels, 'training', args.k)
        queries = apis.labelled_rows(test.labels, 'test')

    accuracy = knn_accuracy(
        queries.select(test.rows),
        queries.labels,
        bank.select(train.rows),
        bank.labels,
        args.k,
        args.temperatures,
        get_device(),
    )
    print(
        f'\n{args.k} nearest of {len(bank.labels)} labelled training images, '
        f'{len(queries.labels)} test images, output {args.output}\n'
    )
    for temperature, value in accuracy.items():
        print(f'kNN top-1, temperature {temperature}: {value:.1f} %')
    if args.out:
        result = dict(k=args.k, output=args.output, num_samples=len(queries.labels))
        result.update({f'top1_t{temperature}': value for temperature, value in accuracy.items()})
        with apis.clear_run_errors():
            dump_atomically(args.out, result)


if __name__ == '__main__':
    main()
