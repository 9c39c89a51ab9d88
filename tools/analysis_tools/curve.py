#!/usr/bin/env python
"""Metrics of validation over the epochs of one or several trainings (Figure 2)."""

import argparse
import os.path as osp
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import early  # noqa: F401  (first)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dirs', nargs='+', metavar='work_dir', help='work dirs of trainings')
    parser.add_argument('--metrics', nargs='+', default=['acc', 'nmi', 'ari'])
    parser.add_argument('--out', default='curve.png', help='file for the picture')
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from cdc_mm import apis
    from cdc_mm.atomic import check_output
    from cdc_mm.visualization import draw_curves

    with apis.clear_errors():
        check_output(args.out)
        runs = {path: apis.read_validation(path, args.metrics) for path in args.work_dirs}
    if len(runs) == 1:
        (path, curves), *_ = runs.items()
        title = osp.basename(osp.abspath(path))
        panels = {title: {metric.upper(): curve for metric, curve in curves.items()}}
    else:
        top = osp.commonpath(runs)
        panels = {
            metric.upper(): {osp.relpath(path, top): runs[path][metric] for path in runs}
            for metric in args.metrics
        }
    draw_curves(panels, 'epoch', 'percent').savefig(args.out)
    print(args.out)


if __name__ == '__main__':
    main()
