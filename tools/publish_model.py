#!/usr/bin/env python
"""Make of a checkpoint a small file to hand on: the weights that prediction uses, and no more.

Optimiser, schedulers, logs, the config and what only training needs are left out. The name of the
file gets the first eight digits of its SHA-256: model.pth becomes model-0123abcd.pth.
"""

import argparse

import early  # noqa: F401  (first)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='checkpoint file of a training')
    parser.add_argument('out', help='file to write, such as model.pth')
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='load checkpoints that can run code; only for files whose maker you trust',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    # After parsing, so that --help and mistyped flags answer at once.
    from cdc_mm import apis
    from cdc_mm.atomic import check_output

    with apis.clear_errors(), apis.clear_run_errors():
        check_output(args.out, 'OUT')
        if args.trust_checkpoint:
            apis.trust_checkpoints()
        path = apis.publish_checkpoint(args.checkpoint, args.out)
    print(f'{path}: {path.stat().st_size / 1e6:.1f} MB')


if __name__ == '__main__':
    main()
