#!/usr/bin/env python
"""Cluster a folder of images: tables, a report to look at, a model for new images.

Writes into OUT: assignments.csv (image, cluster, confidence, second cluster, stability, ...),
report.html, and model/, which assigns new images:

  cluster.py PHOTOS --num-clusters 12 --out OUT
  cluster.py NEW --model OUT/model --out OUT2     assigns without training
  cluster.py PHOTOS --out OUT --names NAMES.json  applies names that were given in the report

Images are never moved or changed.
"""

import argparse
import os
import shlex
import sys

import early  # noqa: F401  (first)


def number_of_clusters(text: str):
    if text == 'auto':
        return text
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"a whole number from 2, or 'auto', not {text}")
    return int(text)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('folder', help='folder of images, at any depth')
    parser.add_argument(
        '--num-clusters',
        type=number_of_clusters,
        metavar='K',
        help="how many; 'auto' looks at 2 to 30 and gives a range, too",
    )
    parser.add_argument('--out', required=True, help='folder for what is written')
    parser.add_argument(
        '--encoder',
        help='network that sees the images: lite2 (default), lite1, lite0, timm:NAME, auto (a '
        'DINOv2 if it is at hand); with --weights also torchvision:NAME, resnet50 or a config',
    )
    parser.add_argument('--weights', help='file that fills the network')
    parser.add_argument('--image-size', type=int, help='pixels that the network sees')
    parser.add_argument(
        '--unbalanced',
        action='store_true',
        help='kinds of images differ much in number: clusters may have any size',
    )
    parser.add_argument(
        '--finetune',
        type=int,
        default=0,
        metavar='EPOCHS',
        help='let the network learn, too, for so many epochs: with a GPU, or patience; what comes '
        'of it is taken unless it is far worse, as far as that can be seen without labels',
    )
    parser.add_argument('--seed', type=int, default=0, help='default: 0')
    parser.add_argument('--model', help='model/ of an earlier run: assign, do not train')
    parser.add_argument('--names', help='file that the report saved: applied to the tables in OUT')
    parser.add_argument(
        '--folders', choices=['link', 'copy'], help='also OUT/clusters/<name>/, of links or copies'
    )
    parser.add_argument('--parquet', action='store_true', help='also assignments.parquet')
    parser.add_argument(
        '--store', help='where features are kept for the next time (default: the user cache)'
    )
    parser.add_argument('--num-workers', type=int, default=2, help='that read images (default: 2)')
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='load --weights that can run code; only for files whose maker you trust',
    )
    args = parser.parse_args()
    network = args.encoder or args.weights or args.image_size or args.finetune or args.unbalanced
    if args.finetune < 0:
        parser.error(f'--finetune takes a number of epochs, not {args.finetune}')
    if args.finetune and args.unbalanced:
        parser.error(
            '--finetune is by CDC, whose clusters are of equal size: not with --unbalanced'
        )
    if args.names and (args.model or args.num_clusters or network):
        parser.error('--names only changes tables that are there: leave out the other flags')
    if args.model and args.num_clusters:
        parser.error('--model has its number of clusters: leave out --num-clusters')
    if args.model and network:
        parser.error(
            '--model has its network and clusters: leave out --encoder, --weights, --image-size, '
            '--unbalanced and --finetune'
        )
    if not (args.names or args.model or args.num_clusters):
        parser.error("say how many clusters: --num-clusters K, or 'auto'")
    return args


def main() -> None:
    args = parse_args()

    # After parsing, so that --help and mistyped flags answer at once.
    from cdc_mm import apis

    with apis.clear_errors(), apis.clear_run_errors():
        if args.trust_checkpoint:
            apis.trust_checkpoints()
        apis.cluster_folder(
            args.folder,
            args.out,
            num_clusters=args.num_clusters,
            model=args.model,
            names=args.names,
            folders=args.folders,
            parquet=args.parquet,
            encoder=args.encoder,
            weights=args.weights,
            image_size=args.image_size,
            balanced=not args.unbalanced,
            finetune_epochs=args.finetune,
            seed=args.seed,
            store_dir=args.store,
            num_workers=args.num_workers,
            command=shlex.join([os.path.basename(sys.argv[0]), *sys.argv[1:]]),
        )


if __name__ == '__main__':
    main()
