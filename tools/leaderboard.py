#!/usr/bin/env python
"""Compare methods that cluster images: train each with each seed on one split, and judge all alike.

Writes a table (leaderboard.md, .json) and a picture (.png). Stopped, it goes on when the command is
given again; what has a result is not run again. A run that fails is named with its reason, and the
others go on.
"""

import argparse
import sys
from typing import List

import early  # noqa: F401  (first)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--data',
        required=True,
        help='digits (8x8 pixels, ships with scikit-learn); cifar10 (image files in '
        'data/cifar10_folder/{train,test}/CLASS); or a folder of images, split where it holds '
        'train and test. Folders of classes serve to judge only',
    )
    parser.add_argument(
        '--methods',
        default='all',
        help='names with commas between, as in configs/baselines/, or paths of configs of your own '
        '(default: all)',
    )
    parser.add_argument('--seeds', type=int, help='number of seeds, counted from 0 (default: 3)')
    parser.add_argument(
        '--quick', action='store_true', help='a quarter of the epochs and one seed: a look only'
    )
    parser.add_argument(
        '--num-clusters', type=int, metavar='K', help='default: the number of classes'
    )
    parser.add_argument(
        '--jobs',
        type=int,
        default=1,
        help='runs at a time, each on one thread, or on one GPU of those there are (default: 1)',
    )
    parser.add_argument('--out', help='folder for all of it (default: work_dirs/leaderboard/DATA)')
    return parser.parse_args()


def _command() -> List[str]:
    """What was typed, for the record, but for the folder that it is written to."""
    words = ['tools/leaderboard.py', *sys.argv[1:]]
    if '--out' in words:
        at = words.index('--out')
        del words[at : at + 2]
    return words


def main() -> None:
    args = parse_args()

    # After parsing, so that --help and mistyped flags answer at once.
    from pathlib import Path

    from cdc_mm import apis

    seeds = args.seeds if args.seeds is not None else 1 if args.quick else 3
    name = Path(args.data).resolve().name + ('_quick' if args.quick else '')
    out = args.out or f'work_dirs/leaderboard/{name}'
    with apis.clear_errors():
        if args.jobs < 1:
            raise ValueError(f'--jobs must be at least 1, got {args.jobs}')
        devices = apis.visible_devices()
        slots = [devices[i % len(devices)] for i in range(args.jobs)]
        names = [name.strip() for name in args.methods.split(',') if name.strip()]
        board = apis.plan_leaderboard(args.data, names, seeds, out, args.quick, args.num_clusters)
    for method, reason in board.skipped.items():
        print(f'{method}: left out: {reason}')
    try:
        failed = apis.run_leaderboard(board, slots)
    finally:
        with apis.clear_errors():
            text = apis.write_leaderboard(board, _command())
    print(f'\n{text}\n{out}/leaderboard.md (and .json, .png)')
    if failed:
        raise SystemExit(f'error: {len(failed)} runs failed: ' + '; '.join(map(str, failed)))


if __name__ == '__main__':
    main()
