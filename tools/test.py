#!/usr/bin/env python
"""Test (evaluate) a model."""

import argparse
import os
import os.path as osp
from copy import deepcopy

import early  # noqa: F401  (first)
from mmengine.config import Config, ConfigDict
from shared_args import add_shared_args

_PREDICTION_FILES = ('.csv', '.pkl', '.pickle')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--data', help="folder of new images, in place of the config's: its pipeline, any depth"
    )
    parser.add_argument(
        '--work-dir',
        help='log and contact sheet go into test/ in it, in a folder named after the checkpoint',
    )
    parser.add_argument('--out', help='file for the results (.csv, .pkl, .json or .yaml)')
    parser.add_argument(
        '--out-item',
        choices=['metrics', 'pred'],
        help='what --out holds: the metrics or, by default, the predictions (.csv: image, cluster '
        'and confidence; .pkl: everything)',
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    parser.add_argument(
        '--show-dir',
        help='directory for images with their predictions, and for the contact sheets: the most '
        'and the least confident images of each cluster',
    )
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
    if args.tta and (args.show or args.show_dir):
        parser.error('--show and --show-dir do not go with --tta: an image has several views')
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def merge_args(cfg: Config, args: argparse.Namespace) -> Config:
    """Apply the flags of the command line to the config."""
    cfg.launcher = args.launcher
    cfg.load_from = args.checkpoint
    cfg.resume = False
    # Priority: command line, config, name of the config.
    work_dir = args.work_dir or cfg.get('work_dir') or osp.join('work_dirs', stem(args.config))
    # Not into the folder of the training, whose contact sheet it would overwrite.
    name = stem(args.checkpoint)
    if args.data is not None:
        name += f'_{osp.basename(osp.abspath(args.data))}'
        use_folder(cfg, args.data)
    cfg.work_dir = osp.join(work_dir, 'test', name)
    if args.amp:
        cfg.test_cfg.fp16 = True
    if args.show or args.show_dir is not None:
        cfg.default_hooks.pictures = dict(
            type='PictureHook',
            show=args.show,
            wait_time=args.wait_time,
            out_dir=args.show_dir,
            interval=args.interval,
        )
    if args.show_dir is not None:
        # A clustered folder's config has none.
        sheets = cfg.default_hooks.get('contact_sheet') or dict(type='ContactSheetHook')
        cfg.default_hooks.contact_sheet = dict(sheets, out_dir=args.show_dir)
    if args.tta:
        use_tta(cfg)
    return cfg


def stem(path: str) -> str:
    return osp.splitext(osp.basename(path))[0]


def use_folder(cfg: Config, folder: str) -> None:
    """Test on the images below a folder, prepared as the config's own."""
    from cdc_mm import apis

    pipeline = cfg.test_dataloader.dataset.get('pipeline', [])
    if not any(step.type.startswith('LoadImage') for step in pipeline):
        raise ValueError(
            f"--data {folder}: the config's test images are no files, so that its pipeline reads "
            'none. Use a config of a folder with the same network.'
        )
    for step in pipeline:
        # That of the images of the config has none of others.
        if step.get('cache') is not None and not apis.ImageCache(step.cache).covers(folder):
            step.cache = None
    cfg.test_dataloader.dataset = dict(type='ImageFolder', data_root=folder, pipeline=pipeline)


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
    from mmengine.dist import is_main_process
    from mmengine.evaluator import DumpResults

    from cdc_mm import apis
    from cdc_mm.atomic import check_output, dump_atomically
    from cdc_mm.evaluation import DumpClusters

    with apis.clear_errors():
        if args.trust_checkpoint:
            apis.trust_checkpoints()
        cfg = merge_args(apis.read_config(args.config, args.cfg_options), args)
        apis.set_dataloader_defaults(cfg, pin_memory=not args.no_pin_memory)
        if args.out:
            check_output(args.out, as_object=args.out_item == 'metrics')
        runner = apis.build_runner(cfg)
        apis.prepare_test(runner)
    if args.out and args.out_item != 'metrics':
        dump = DumpClusters if args.out.endswith('.csv') else DumpResults
        runner.test_evaluator.metrics.append(dump(out_file_path=args.out))
    with apis.clear_run_errors():
        metrics = runner.test()
        if args.out and args.out_item == 'metrics' and is_main_process():
            dump_atomically(args.out, metrics)


if __name__ == '__main__':
    main()
