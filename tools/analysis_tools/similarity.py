#!/usr/bin/env python
"""Dot products of zc, zn and z by category (Table 7), alignment and uniformity, of the test images.

Augmented: two views of an image, augmented as in training. Same and different: all pairs of images
of the same category and of different ones. Without labels, of the same predicted cluster.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import early  # noqa: F401  (first)
import numpy as np
from feature_args import add_feature_args, build_extractor


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    add_feature_args(parser, 'z')
    parser.add_argument('--out', help='file for the figures (.json, .yaml or .pkl)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from cdc_mm import apis
    from cdc_mm.atomic import check_output, dump_atomically
    from cdc_mm.evaluation.functional import (
        alignment,
        category_similarity,
        pair_similarity,
        uniformity,
        unit_rows,
    )
    from cdc_mm.tables import markdown_table, plus_minus

    with apis.clear_errors():
        if args.out:
            check_output(args.out, as_object=True)
        extract = build_extractor(args)
        z = extract('test')
        groups = extract.groups('test')
        views = [np.asarray(extract('test', view=view).rows) for view in (0, 1)]
    z = np.asarray(z.rows)
    parts = {args.output: slice(None)}
    if args.output == 'z' and 'zc' in extract.outputs:
        k = extract.model.num_clusters
        parts = dict(zc=slice(None, k), zn=slice(k, None), **parts)
    results = {}
    for name, part in parts.items():
        x, first, second = (rows[:, part] for rows in (z, *views))
        results[name] = dict(
            augmented=pair_similarity(first, second),
            **category_similarity(x, groups.numbers),
            # Defined for unit vectors; z of CDC has the norm sqrt(2).
            alignment=alignment(unit_rows(first), unit_rows(second)),
            uniformity=uniformity(unit_rows(x)),
        )
    if args.out:
        with apis.clear_run_errors():
            dump_atomically(args.out, dict(num_images=len(z), **results))

    if groups.predicted:
        print('\nThe images have no labels: same and different are those of predicted clusters.')
    print(f'\n{len(z)} images, mean +- standard deviation of the dot products\n')
    # The deviation is that of all pairs: there are no others that they would be a sample of.
    rows = [
        [
            f'{row} ({results[args.output][row][2]:,} pairs)',
            *(plus_minus(*x[row][:2], digits=3) for x in results.values()),
        ]
        for row in ('augmented', 'same', 'different')
    ]
    rows += [
        [row, *(plus_minus(x[row], digits=3) for x in results.values())]
        for row in ('alignment', 'uniformity')
    ]
    print(markdown_table(['', *results], rows))


if __name__ == '__main__':
    main()
