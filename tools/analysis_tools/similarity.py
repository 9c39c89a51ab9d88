#!/usr/bin/env python
"""Dot products of zc, zn and z by category (Table 7), alignment and uniformity, of the test images.

Augmented: two views of an image, augmented as in training. Same and different: all pairs of images
of the same category and of different ones.
"""

import argparse

import numpy as np
from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', help='file for the figures (.json, .yaml or .pkl)')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='override config entries: key=value'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from cdc_mm import apis
    from cdc_mm.atomic import dump_atomically
    from cdc_mm.evaluation.functional import (
        alignment,
        category_similarity,
        pair_similarity,
        uniformity,
    )
    from cdc_mm.tables import markdown_table, plus_minus

    with apis.clear_errors():
        cfg = apis.read_config(args.config)
        cfg.merge_from_dict(args.cfg_options or {})
        model = apis.load_model(cfg, args.checkpoint)
        z, labels = apis.collect_outputs(model, apis.build_test_loader(cfg), 'z')
        views = [
            apis.collect_outputs(model, apis.build_test_loader(cfg, augmented=True), 'z', view)[0]
            for view in (0, 1)
        ]
    if 'zc' in apis.known_outputs(model):
        k = model.head.num_clusters
        # z has norm sqrt(2); alignment and uniformity are defined for unit vectors.
        whole = (slice(None), np.sqrt(0.5))
        parts = dict(zc=(slice(None, k), 1.0), zn=(slice(k, None), 1.0), z=whole)
    else:
        parts = dict(z=(slice(None), 1.0))
    results = {}
    for name, (part, scale) in parts.items():
        x, first, second = (rows[:, part] for rows in (z, *views))
        results[name] = dict(
            augmented=pair_similarity(first, second),
            **category_similarity(x, labels),
            alignment=alignment(first * scale, second * scale),
            uniformity=uniformity(x * scale),
        )
    if args.out:
        with apis.clear_run_errors():
            dump_atomically(args.out, dict(num_images=len(z), **results))

    print(f'\n{len(z)} images, mean +- standard deviation of the dot products\n')
    # The deviation is that of all pairs: there are no others that they would be a sample of.
    rows = [
        [
            f'{row} ({results["z"][row][2]:,} pairs)',
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
