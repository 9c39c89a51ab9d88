#!/usr/bin/env python
"""Classify the test images by their nearest training images in the features of a checkpoint."""

import argparse
import os.path as osp

import mmengine
from mmengine.config import Config, DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file: network and data')
    parser.add_argument('checkpoint', help='any pretraining checkpoint')
    parser.add_argument('--k', type=int, default=200, help='neighbours (default: 200)')
    parser.add_argument(
        '--temperatures', type=float, nargs='+', default=[0.07, 0.1], help='default: 0.07 0.1'
    )
    parser.add_argument(
        '--output',
        choices=['backbone', 'z', 'zc', 'zn'],
        default='backbone',
        help='features: pooled ones of the backbone (default) or a part of z',
    )
    parser.add_argument('--out', help='file for the metrics (.json or .yaml)')
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
    args = parser.parse_args()
    if min(args.temperatures) <= 0:
        parser.error('temperatures must be above 0')
    return args


def main() -> None:
    args = parse_args()

    # After parsing, so that --help and mistyped flags answer at once.
    from mmengine.device import get_device

    from cdc_mm import apis
    from cdc_mm.evaluation.functional import knn_accuracy

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
        bank = apis.labelled_rows(extract.labels['train'], 'training', at_least=args.k)
        queries = apis.labelled_rows(extract.labels['test'], 'test')

    accuracy = knn_accuracy(
        queries.select(extract('test')),
        queries.labels,
        bank.select(extract('train')),
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
        mmengine.dump(result, args.out)


if __name__ == '__main__':
    main()
