#!/usr/bin/env python
"""t-SNE of zc and zn of the test images, coloured by class (Figure 4)."""

import argparse
import os.path as osp

import mmengine
import numpy as np
from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--out', default='tsne', help='OUT.png is the picture, OUT.npz the points and the classes'
    )
    parser.add_argument(
        '--parts', nargs='+', default=['zc', 'zn'], choices=['zc', 'zn', 'z', 'backbone']
    )
    parser.add_argument('--perplexity', type=float, default=30)
    parser.add_argument(
        '--max-images', type=int, default=5000, help='images at most, drawn at random'
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='override config entries: key=value'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from sklearn.manifold import TSNE

    from cdc_mm import apis
    from cdc_mm.visualization import draw_scatter

    with apis.clear_errors():
        cfg = apis.read_config(args.config)
        cfg.merge_from_dict(args.cfg_options or {})
        model = apis.load_model(cfg, args.checkpoint)
        loader = apis.build_test_loader(cfg)
        points = {}
        for part in args.parts:
            rows, labels = apis.collect_outputs(model, loader, part)
            chosen = np.random.RandomState(0).permutation(len(rows))[: args.max_images]
            tsne = TSNE(perplexity=args.perplexity, init='pca', random_state=0)
            print(f't-SNE of {len(chosen)} x {rows.shape[1]} ({part}) ...', flush=True)
            points[part] = tsne.fit_transform(rows[chosen])
    labels = labels[chosen]

    mmengine.mkdir_or_exist(osp.dirname(osp.abspath(args.out)))
    np.savez_compressed(f'{args.out}.npz', labels=labels, **points)
    names = loader.dataset.metainfo.get('classes') or list(map(str, range(labels.max() + 1)))
    draw_scatter(points, labels, names).savefig(f'{args.out}.png')
    print(f'{args.out}.png\n{args.out}.npz')


if __name__ == '__main__':
    main()
