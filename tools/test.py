#!/usr/bin/env python
"""Test (evaluate) a model."""

import argparse
import os
import os.path as osp
from copy import deepcopy

from mmengine.config import Config, ConfigDict
from shared_args import add_shared_args

_PREDICTION_FILES = ('.csv', '.pkl', '.pickle')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--work-dir', help='where the metrics and the contact sheet go')
    parser.add_argument('--out', help='file for the results (.csv, .pkl, .json or .yaml)')
    parser.add_argument(
        '--out-item',
        choices=['metrics', 'pred'],
        help='what --out holds: the metrics or, by default, the predictions (.csv: image, cluster '
        'and confidence; .pkl: everything)',
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    parser.add_argument('--show-dir', help='directory for images with their predictions')
    parser.add_argument('--show', action='store_true', help='show predictions in a window')
    parser.add_argument('--interval', type=int, default=1, help='show every n-th sample')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds a window stays')
    parser.add_argument('--no-pin-memory', action='store_true', help='do not pin memory')
    parser.add_argument(
        '--tta',
        action='store_true',
        help="test-time augmentation: the config's tta_model and tta_pipeline, else flips",
    )
    add_shared_args(parser)
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    if args.out is None and args.out_item is not None:
        parser.error('--out-item needs --out')
    if args.out and args.out_item != 'metrics' and not args.out.endswith(_PREDICTION_FILES):
        parser.error('predictions are .csv or .pkl files; add --out-item metrics for others')
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def merge_args(cfg: Config, args: argparse.Namespace) -> Config:
    """Apply the flags of the command line to the config."""
    cfg.launcher = args.launcher
    cfg.load_from = args.checkpoint
    cfg.resume = False
    # Priority: command line, config, name of the config.
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = osp.join('work_dirs', osp.splitext(osp.basename(args.config))[0])
    if args.amp:
        cfg.test_cfg.fp16 = True
    if args.show or args.show_dir is not None:
        cfg.default_hooks.visualization = dict(
            type='VisualizationHook',
            enable=True,
            show=args.show,
            wait_time=args.wait_time,
            out_dir=args.show_dir,
            interval=args.interval,
        )
    if args.tta:
        use_tta(cfg)
    return cfg


def use_tta(cfg: Config) -> None:
    """Average the predictions over the config's test-time views, by default both flips."""
    cfg.setdefault('tta_model', dict(type='AverageClsScoreTTA'))
    if 'tta_pipeline' not in cfg:
        pipeline = deepcopy(cfg.test_dataloader.dataset.pipeline)
        flips = [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)]
        pipeline[-1] = dict(type='TestTimeAug', transforms=[flips, [pipeline[-1]]])
        cfg.tta_pipeline = pipeline
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    # An image has several views, and none of them is the one to draw.
    cfg.default_hooks.pop('contact_sheet', None)


def main() -> None:
    args = parse_args()

    # After parsing, so that --help and mistyped flags answer at once.
    from mmengine.evaluator import DumpResults

    from cdc_mm import apis
    from cdc_mm.atomic import dump_atomically
    from cdc_mm.evaluation import DumpClusters

    with apis.clear_errors():
        if args.trust_checkpoint:
            apis.trust_checkpoints()
        cfg = merge_args(apis.read_config(args.config, args.cfg_options), args)
        apis.set_dataloader_defaults(cfg, pin_memory=not args.no_pin_memory)
        runner = apis.build_runner(cfg)
        apis.prepare_test(runner)
    if args.out and args.out_item != 'metrics':
        dump = DumpClusters if args.out.endswith('.csv') else DumpResults
        runner.test_evaluator.metrics.append(dump(out_file_path=args.out))
    with apis.clear_run_errors():
        metrics = runner.test()
        if args.out and args.out_item == 'metrics':
            dump_atomically(args.out, metrics)


if __name__ == '__main__':
    main()
