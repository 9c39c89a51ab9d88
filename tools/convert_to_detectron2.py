#!/usr/bin/env python
"""Write the backbone of a pretraining checkpoint as a file that detectron2 loads."""

import argparse

import early  # noqa: F401  (first)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'checkpoint', help='of this project, mmpretrain, MoCo v2, MoCo v3 or torchvision'
    )
    parser.add_argument('out', help='file to write, ending in .pkl')
    parser.add_argument(
        '--momentum-encoder',
        action='store_true',
        help='take the momentum encoder instead of the query encoder',
    )
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='load checkpoints that can run code; only for files whose maker you trust',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from cdc_mm import apis, detection
    from cdc_mm.atomic import check_output

    with apis.clear_errors():
        check_output(args.out, 'the file to write')
        if args.trust_checkpoint:
            apis.trust_checkpoints()
        count, depth = detection.convert_checkpoint(
            args.checkpoint, args.out, args.momentum_encoder
        )
    print(f'{args.out}: ResNet-{depth}, {count} convolutions with their batch norms')


if __name__ == '__main__':
    main()
