#!/usr/bin/env python
"""Fine-tune a detector from a pretraining checkpoint with detectron2 and evaluate it."""

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Optional

import early  # noqa: F401  (first)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, configs/detection/*.yaml')
    parser.add_argument(
        '--pretrained',
        help='pretraining checkpoint of this project, mmpretrain, MoCo v2, MoCo v3 or torchvision',
    )
    parser.add_argument(
        '--momentum-encoder',
        action='store_true',
        help='take its momentum encoder instead of its query encoder',
    )
    parser.add_argument(
        '--num-gpus', type=int, default=1, help='number of GPUs; without any, of processes'
    )
    parser.add_argument(
        '--resume', action='store_true', help='go on from the last checkpoint in the output dir'
    )
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='remove the checkpoints that an earlier run left in the output dir',
    )
    parser.add_argument(
        '--eval-only',
        action='store_true',
        help='only evaluate the last checkpoint in the output dir, or MODEL.WEIGHTS FILE',
    )
    parser.add_argument('--output-dir', help='by default work_dirs/<name of the config>')
    parser.add_argument(
        '--seeds',
        type=int,
        metavar='N',
        help='train N times, from seed SEED on, each in a folder of its own; report mean +- std',
    )
    data = parser.add_mutually_exclusive_group()
    data.add_argument('--voc-root', metavar='DIR', help='own data in the layout of Pascal VOC')
    data.add_argument(
        '--coco-json', nargs=2, metavar=('TRAIN', 'TEST'), help="own data in COCO's format"
    )
    parser.add_argument(
        '--image-root',
        nargs=2,
        metavar=('TRAIN', 'TEST'),
        help='folders of the images of --coco-json, by default those of the files',
    )
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='load checkpoints that can run code; only for files whose maker you trust',
    )
    parser.add_argument('options', nargs='*', metavar='KEY VALUE', help='override config entries')
    args = parser.parse_intermixed_args()
    if args.image_root and not args.coco_json:
        parser.error('--image-root belongs to --coco-json')
    if args.overwrite and (args.resume or args.eval_only):
        parser.error('--resume and --eval-only use what --overwrite would remove')
    if args.num_gpus < 1 or (args.seeds is not None and args.seeds < 1):
        parser.error('--num-gpus and --seeds must be at least 1')
    return args


def prepare_weights(cfg, args: argparse.Namespace) -> str:
    """Convert the checkpoint and enter it into the config. Returns the name of what is used."""
    from cdc_mm import detection

    if args.eval_only:
        return cfg.MODEL.WEIGHTS or cfg.OUTPUT_DIR
    if args.pretrained is None:
        if not (cfg.MODEL.WEIGHTS or cfg.FROM_SCRATCH or args.resume):
            raise ValueError(f'{args.config} needs a pretraining checkpoint: add --pretrained FILE')
        return cfg.MODEL.WEIGHTS or ('none' if cfg.FROM_SCRATCH else cfg.OUTPUT_DIR)
    if cfg.MODEL.WEIGHTS or cfg.FROM_SCRATCH:
        source = cfg.MODEL.WEIGHTS or 'random weights'
        raise ValueError(f'this starts from {source}; --pretrained needs a config *_cdc.yaml')
    cfg.MODEL.WEIGHTS = f'{cfg.OUTPUT_DIR}/pretrained.pkl'
    detection.convert_checkpoint(
        args.pretrained, cfg.MODEL.WEIGHTS, args.momentum_encoder, cfg.MODEL.RESNETS.DEPTH
    )
    return args.pretrained


def run_config(cfg, number: int, seeds: Optional[int]):
    """The config of one of several seeds, or of the only run."""
    cfg = cfg.clone()
    cfg.SEED += number
    if seeds:
        cfg.OUTPUT_DIR = f'{cfg.OUTPUT_DIR}/seed_{cfg.SEED}'
    return cfg


def claim(cfg, args: argparse.Namespace):
    """The right to train in the output dir: one at a time, and never one over another."""
    from mmengine.config import Config

    from cdc_mm import apis

    work_dir = Config(dict(work_dir=cfg.OUTPUT_DIR, resume=args.resume))
    return apis.claim_work_dir(work_dir, args.overwrite, 'detection', '--output-dir')


def main() -> None:
    args = parse_args()

    # After parsing, so that --help and mistyped flags answer at once.
    import torch
    from torch.multiprocessing import ProcessExitedException

    from cdc_mm import apis, detection
    from cdc_mm.atomic import write_atomically

    try:
        from detectron2.engine import launch

        from cdc_mm.detection.config import load_config
        from cdc_mm.detection.datasets import check_data, use_coco, use_voc
        from cdc_mm.detection.trainer import transfer
    except ModuleNotFoundError as error:
        raise SystemExit(
            f'error: this needs detectron2 (there is no {error.name}): run '
            'tools/install_detectron2.sh'
        ) from error

    with apis.clear_errors():
        if args.trust_checkpoint:
            apis.trust_checkpoints()
        cfg = load_config(args.config, args.options)
        if args.output_dir:
            cfg.OUTPUT_DIR = args.output_dir
        use_data = None
        if args.voc_root:
            use_data = partial(use_voc, root=args.voc_root)
        elif args.coco_json:
            use_data = partial(
                use_coco, json_files=args.coco_json, image_roots=args.image_root or ()
            )
        if use_data:
            use_data(cfg)
        check_data(cfg)
        if torch.cuda.is_available() and args.num_gpus > torch.cuda.device_count():
            raise ValueError(f'--num-gpus {args.num_gpus}: there are {torch.cuda.device_count()}')
        run_cfgs = [run_config(cfg, i, args.seeds) for i in range(args.seeds or 1)]
        claims = [None if args.eval_only else claim(run_cfg, args) for run_cfg in run_cfgs]
        if args.seeds and not args.eval_only:
            apis.lock_work_dir(cfg.OUTPUT_DIR, '--output-dir')  # the weights of all lie there
        label = prepare_weights(cfg, args)
        for run_cfg in run_cfgs:
            run_cfg.MODEL.WEIGHTS = cfg.MODEL.WEIGHTS

    runs = []
    for run_cfg, claimed in zip(run_cfgs, claims):
        try:
            launch(
                transfer,
                args.num_gpus,
                dist_url='auto',
                args=(run_cfg, use_data, args.resume, args.eval_only, claimed),
            )
        except ProcessExitedException as error:
            raise SystemExit(error.exit_code) from error  # the process has said why
        runs.append(json.loads(Path(run_cfg.OUTPUT_DIR, 'results.json').read_text()))
    table = detection.summarize(label, runs, cfg.PAPER)
    out = Path(cfg.OUTPUT_DIR, 'results.md')
    text = f'{Path(args.config).stem} on {cfg.DATASETS.TEST[0]}, percent\n\n{table}\n'
    write_atomically(out, text)
    print(f'\n{text}\n{out}')


if __name__ == '__main__':
    main()
