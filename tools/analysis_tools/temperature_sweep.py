#!/usr/bin/env python
"""Train a config, or a chain of configs, for several temperatures t and draw ACC over t (Figure 3).

Runs and goes on like tools/run_seeds.py; the runs of t lie in ROOT/tT. A stage without t, such as a
linear classifier, follows the others.
"""

import argparse
import os.path as osp
import sys
from pathlib import Path
from typing import Dict, List

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import early  # noqa: F401  (first)
from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('configs', nargs='+', metavar='config', help='config files, in order')
    parser.add_argument('--t', nargs='+', type=float, default=[0.05, 0.1, 0.2, 0.5, 1.0])
    parser.add_argument('--seeds', type=int, default=1, help='number of seeds, counted from 0')
    parser.add_argument('--work-dir', default='work_dirs/temperature_sweep', help='root of all')
    parser.add_argument(
        '--gpus-per-run',
        type=int,
        default=1,
        metavar='N',
        help='GPUs that train one run together; on a machine without GPUs, processes (default: 1)',
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='override config entries: key=value'
    )
    return parser.parse_args()


def temperature_keys(configs: List[str]) -> List[str]:
    """What sets t in each config: its name, or the key of the head; empty where there is no t.

    Raises:
        ValueError: If none of them has one.
    """
    from cdc_mm import apis

    keys = []
    for config in configs:
        cfg = apis.read_config(config)
        part, model = 'model', cfg.model
        while 'clusterer' in model:  # inside SelfLabel
            part, model = f'{part}.clusterer', model.clusterer
        key = f'{part}.head.t' if 't' in (model.get('head') or {}) else ''
        keys.append('t' if 't' in cfg else key)
    if not any(keys):
        raise ValueError(f'none of {", ".join(configs)} has a temperature t to sweep')
    return keys


def main() -> None:
    args = parse_args()

    from cdc_mm import apis
    from cdc_mm.evaluation.functional import short_name, shown_metrics
    from cdc_mm.visualization import draw_curves

    options = args.cfg_options or {}
    with apis.clear_errors():
        devices = apis.visible_devices(args.gpus_per_run)
        keys = temperature_keys(args.configs)
        sweep = {
            t: apis.plan_seeds(
                args.configs,
                args.seeds,
                osp.join(args.work_dir, f't{t:g}'),
                [{**options, **({key: t} if key else {})} for key in keys],
                args.gpus_per_run,
            )
            for t in sorted(set(args.t))
        }
    failed = apis.run_chains(
        [chain for chains in sweep.values() for chain in chains], devices, args.gpus_per_run
    )
    panels: Dict[str, dict] = {}  # metric -> stage -> points
    for t, chains in sweep.items():
        print(f't = {t:g}\n\n{apis.write_results(chains)}')
        for stage in apis.collect_results(chains):
            for metric in shown_metrics([stage['metrics']])[:1]:
                value = stage['metrics'][metric]
                points = panels.setdefault(short_name(metric), {}).setdefault(stage['stage'], [])
                points.append((t, value['mean'], value['std'] or 0.0))
    picture = osp.join(args.work_dir, 'temperature_sweep.png')
    if panels:
        title = f'mean and deviation of {args.seeds} seeds' if args.seeds > 1 else 'one seed'
        curves = {
            f'{metric}, {title}': {
                stage: tuple(zip(*points, strict=True)) for stage, points in stages.items()
            }
            for metric, stages in panels.items()
        }
        draw_curves(curves, 't', 'percent', log_x=True).savefig(picture)
        print(picture)
    if failed:
        raise SystemExit(f'error: {len(failed)} runs failed: ' + ', '.join(map(str, failed)))


if __name__ == '__main__':
    main()
