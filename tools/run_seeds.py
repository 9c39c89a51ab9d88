#!/usr/bin/env python
"""Train, test and summarise a config, or a chain of configs, over several seeds.

From the second config on, each starts from the last checkpoint of the one before:
pretraining, then self-labelling or a linear classifier. Seeds run side by side, one on each GPU or
group of GPUs, or one after the other on the CPU. Give the command again to go on where it was
stopped, or with more seeds.
"""

import argparse

import early  # noqa: F401  (first)
from shared_args import OptionsAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('configs', nargs='+', metavar='config', help='config files, in order')
    parser.add_argument('--seeds', type=int, default=5, help='number of seeds, counted from 0')
    parser.add_argument(
        '--gpus-per-run',
        type=int,
        default=1,
        metavar='N',
        help='GPUs that train one run together; on a machine without GPUs, processes (default: 1)',
    )
    parser.add_argument(
        '--work-dir',
        default='work_dirs/run_seeds',
        help='root of all runs: seed n of a config lies in ROOT/CONFIG/seedN, the summary in '
        'ROOT/CONFIG/results.md and .json',
    )
    parser.add_argument(
        '--select',
        action='store_true',
        help='name the checkpoint of the best seed; labels have no part in it: what counts is how '
        'well a linear classifier on a fixed space of features learns the clusters (linear_cv)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionsAction,
        help='override config entries in every stage: key=value; a name that only some stages have '
        'is for those',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from cdc_mm import apis

    with apis.clear_errors():
        devices = apis.visible_devices(args.gpus_per_run)
        chains = apis.plan_seeds(
            args.configs,
            args.seeds,
            args.work_dir,
            args.cfg_options,
            args.gpus_per_run,
            args.select,
        )
    failed = apis.run_chains(chains, devices, args.gpus_per_run)
    with apis.clear_errors():
        text = apis.write_results(chains, args.select)
    print(f'\n{text}\n{chains[0][-1].folder.parent / "results.md"} (and .json)')
    if failed:
        raise SystemExit(f'error: {len(failed)} runs failed: ' + ', '.join(map(str, failed)))


if __name__ == '__main__':
    main()
