#!/usr/bin/env python
"""Train a config, or a chain of configs, for several temperatures t and draw ACC over t (Figure 3).

Runs and goes on like tools/run_seeds.py; the runs of t lie in ROOT/tT.
"""

import argparse
import os.path as osp

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('configs', nargs='+', metavar='config', help='config files, in order')
    parser.add_argument('--t', nargs='+', type=float, default=[0.05, 0.1, 0.2, 0.5, 1.0])
    parser.add_argument('--seeds', type=int, default=1, help='number of seeds, counted from 0')
    parser.add_argument('--work-dir', default='work_dirs/temperature_sweep', help='root of all')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='override config entries: key=value'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from cdc_mm import apis
    from cdc_mm.visualization import draw_curves

    with apis.clear_errors():
        sweep = {
            t: apis.plan_seeds(
                args.configs,
                args.seeds,
                osp.join(args.work_dir, f't{t:g}'),
                {**(args.cfg_options or {}), 'model.head.t': t},
            )
            for t in sorted(set(args.t))
        }
    failed = apis.run_chains(
        [chain for chains in sweep.values() for chain in chains], apis.visible_devices()
    )
    lines = {}
    for t, chains in sweep.items():
        print(f't = {t:g}\n\n{apis.write_results(chains)}')
        for stage in apis.collect_results(chains):
            acc = stage['metrics']['clustering/acc']
            lines.setdefault(stage['stage'], []).append((t, acc['mean'], acc['std'] or 0.0))
    picture = osp.join(args.work_dir, 'temperature_sweep.png')
    curves = {stage: tuple(zip(*points, strict=True)) for stage, points in lines.items()}
    if curves:
        title = f'mean and deviation of {args.seeds} seeds' if args.seeds > 1 else 'one seed'
        draw_curves({title: curves}, 't', 'ACC in percent', log_x=True).savefig(picture)
        print(picture)
    if failed:
        raise SystemExit(f'error: {len(failed)} runs failed: ' + ', '.join(map(str, failed)))


if __name__ == '__main__':
    main()
