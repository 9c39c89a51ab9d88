#!/usr/bin/env python
"""t-SNE of zc and zn of the test images, coloured by class (Figure 4).

Without labels, by predicted cluster.
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
    add_feature_args(parser)
    parser.add_argument(
        '--out', default='tsne', help='OUT.png is the picture, OUT.npz the points and the classes'
    )
    parser.add_argument(
        '--parts',
        nargs='+',
        default=['zc', 'zn'],
        help='zc, zn, z, backbone or what else the model has (default: zc zn)',
    )
    parser.add_argument('--perplexity', type=float, default=30)
    parser.add_argument(
        '--max-images', type=int, default=5000, help='images at most, drawn at random'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from sklearn.manifold import TSNE

    from cdc_mm import apis
    from cdc_mm.atomic import check_output
    from cdc_mm.visualization import draw_scatter

    with apis.clear_errors():
        check_output(f'{args.out}.png')
        # With a part of the heads first, the whole checkpoint is read.
        extract = build_extractor(args, min(args.parts, key='backbone'.__eq__))
        points = {}
        for part in args.parts:
            rows = extract('test', part).rows
            chosen = np.random.RandomState(0).permutation(len(rows))[: args.max_images]
            tsne = TSNE(perplexity=args.perplexity, init='pca', random_state=0)
            print(f't-SNE of {len(chosen)} x {rows.shape[1]} ({part}) ...', flush=True)
            points[part] = tsne.fit_transform(rows[chosen])
        groups = extract.groups('test')
    labels = groups.numbers[chosen]
    if groups.predicted:
        print('The images have no labels: the colours are those of predicted clusters.')

    np.savez_compressed(f'{args.out}.npz', labels=labels, **points)
    draw_scatter(points, labels, groups.names).savefig(f'{args.out}.png')
    print(f'{args.out}.png\n{args.out}.npz')


if __name__ == '__main__':
    main()
