#!/usr/bin/env python
"""Train a model."""

import argparse
import os
import os.path as osp

import early  # noqa: F401  (first)
from mmengine.config import Config
from shared_args import add_shared_args


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='where logs and checkpoints go')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='checkpoint to resume from; without a value, the latest one in the work dir',
    )
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='remove the checkpoints that an earlier run left in the work dir',
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help='automatic mixed precision, in bfloat16 (float16 on a GPU without it)',
    )
    parser.add_argument(
        '--deterministic',
        action='store_true',
        help='the same numbers on every run with the same randomness.seed, at some cost of speed',
    )
    parser.add_argument('--no-validate', action='store_true', help='do not validate')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help="scale the learning rate by the actual batch size over the config's",
    )
    parser.add_argument('--no-pin-memory', action='store_true', help='do not pin memory')
    parser.add_argument(
        '--no-persistent-workers', action='store_true', help='restart data workers every epoch'
    )
    add_shared_args(parser)
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    if args.overwrite and args.resume == 'auto':
        parser.error('--resume goes on with what --overwrite would remove')
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def merge_args(cfg: Config, args: argparse.Namespace) -> Config:
    """Apply the flags of the command line to the config."""
    from cdc_mm import apis

    cfg.launcher = args.launcher
    # Priority: command line, config, name of the config.
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = osp.join('work_dirs', osp.splitext(osp.basename(args.config))[0])
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.deterministic:
        cfg.setdefault('randomness', {}).deterministic = True
    if args.amp:
        apis.use_amp(cfg)
    if args.resume is not None:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    if args.auto_scale_lr:
        cfg.setdefault('auto_scale_lr', {}).enable = True
    return cfg


def main() -> None:
    args = parse_args()

    # After parsing, so that --help and mistyped flags answer at once.
    from cdc_mm import apis

    with apis.clear_errors():
        if args.trust_checkpoint:
            apis.trust_checkpoints()
        cfg = merge_args(apis.read_config(args.config, args.cfg_options), args)
        apis.set_dataloader_defaults(
            cfg,
            pin_memory=not args.no_pin_memory,
            persistent_workers=not args.no_persistent_workers,
        )
        claim = apis.claim_work_dir(cfg, args.overwrite)
        runner = apis.build_runner(cfg)
        apis.prepare_training(runner)
        claim.hand_to(runner)
    with apis.clear_run_errors():
        runner.train()


if __name__ == '__main__':
    main()
