#!/usr/bin/env python
"""How many clusters are there? Scores each number in a range by three criteria, without labels.

Prints the answer, its range and how sure it is; writes choose_k.json and choose_k.png, the curves.
SOURCE is a config whose training data are rows (as configs/cdc_r50_folder_pretrained.py), any other
config with --checkpoint, a .npy file of rows, or the folder of a store.
"""

import argparse
import os.path as osp
from types import SimpleNamespace

import early  # noqa: F401  (first)
from shared_args import add_shared_args


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='config, .npy file of rows, or folder of a store')
    parser.add_argument('--checkpoint', help='of the network of a config: its pooled features')
    parser.add_argument(
        '--range',
        nargs=2,
        type=int,
        default=(2, 30),
        metavar=('LOW', 'HIGH'),
        help='numbers of clusters to look at (default: 2 30)',
    )
    parser.add_argument('--seed', type=int, default=0, help='default: 0')
    parser.add_argument(
        '--out', default='work_dirs/choose_k', help='folder of both files (default: %(default)s)'
    )
    add_shared_args(parser)
    return parser.parse_args()


def find_rows(args: argparse.Namespace):
    """Rows of the source, shape (N, D).

    Raises:
        FileNotFoundError: If it is not there.
        ValueError: If there are no rows to be had from it.
    """
    from cdc_mm import apis

    if not args.source.endswith('.py'):
        if args.checkpoint or args.cfg_options:
            raise ValueError(f'--checkpoint and --cfg-options go with a config, not {args.source}')
        return apis.read_rows(args.source)
    if args.checkpoint:
        from feature_args import build_extractor

        args = SimpleNamespace(
            **vars(args), config=args.source, cache_dir=None, dtype='float32', bf16=False
        )
        return build_extractor(args, 'backbone')('train').rows
    cfg = apis.read_config(args.source, args.cfg_options)
    dataset = cfg.train_dataloader.dataset
    if dataset.type not in ('FeatureDataset', 'RowFile'):
        raise ValueError(
            f'the network of {args.source} has yet to be trained: say --checkpoint, or take a '
            'config whose data are rows'
        )
    if args.trust_checkpoint:
        apis.trust_checkpoints()
    return apis.dataset_rows(dataset)


def main() -> None:
    args = parse_args()

    # After parsing, so that --help and mistyped flags answer at once.
    from cdc_mm import apis
    from cdc_mm.atomic import check_output, dump_atomically
    from cdc_mm.evaluation.functional import SURENESS, check_num_clusters_range
    from cdc_mm.visualization import draw_num_clusters

    table, picture = (osp.join(args.out, f'choose_k.{suffix}') for suffix in ('json', 'png'))
    with apis.clear_errors():
        check_num_clusters_range(*args.range)
        check_output(table, as_object=True)
        rows = find_rows(args)
        found = apis.choose_num_clusters(rows, *args.range, seed=args.seed)

    looked_at = f'{found.num_rows} of {len(rows)}' if found.num_rows < len(rows) else len(rows)
    picks = ', '.join(f'{name} {k}' for name, k in found.picks.items())
    print(f'\n{looked_at} rows, {args.range[0]} to {args.range[1]} clusters; by criterion: {picks}')
    if found.sureness == 'none':
        print(f'unsure: {SURENESS["none"]}')
    else:
        span = '' if found.low == found.high else f', between {found.low} and {found.high}'
        print(f'{found.best} clusters{span}: {SURENESS[found.sureness]}')
    with apis.clear_run_errors():
        dump_atomically(table, dict(found._asdict(), seed=args.seed), indent=1)
        draw_num_clusters(found.picks, found.curves).savefig(picture)
    print(f'{table}\n{picture}')


if __name__ == '__main__':
    main()
