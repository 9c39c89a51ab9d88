"""What the tools that evaluate features share: their arguments, and the extractor these ask for."""

import argparse
import os.path as osp
from typing import Optional

from shared_args import add_shared_args


def add_feature_args(parser: argparse.ArgumentParser, output: Optional[str] = None) -> None:
    """Add the arguments that :func:`build_extractor` reads, but for ``config``.

    Args:
        parser (ArgumentParser): Of the tool.
        output (str, optional): Default of ``--output``. None leaves that argument out.
    """
    parser.add_argument('checkpoint', help='any pretraining checkpoint')
    if output is not None:
        parser.add_argument(
            '--output',
            default=output,
            help='backbone: its pooled features; of a clusterer also what it embeds images as '
            f'(CDC: z, zc, zn) and scores (default: {output})',
        )
    parser.add_argument('--bf16', action='store_true', help='compute the features in bfloat16')
    parser.add_argument(
        '--dtype',
        choices=['float32', 'float16'],
        default='float32',
        help='of the features on disk (default: float32)',
    )
    parser.add_argument(
        '--cache-dir', help='where the features lie (default: work_dirs/<config>/features)'
    )
    add_shared_args(parser)


def build_extractor(args: argparse.Namespace, output: Optional[str] = None):
    """The :class:`cdc_mm.apis.FeatureExtractor` of the arguments.

    Args:
        args (Namespace): As parsed.
        output (str, optional): What to extract where the tool has no ``--output``.

    Raises:
        FileNotFoundError: If the config, the checkpoint or an image is missing.
        ValueError: If the checkpoint does not fit.
    """
    # After parsing, so that --help and mistyped flags answer at once.
    from cdc_mm import apis

    if args.trust_checkpoint:
        apis.trust_checkpoints()
    cfg = apis.read_config(args.config, args.cfg_options)
    name = osp.splitext(osp.basename(args.config))[0]
    cache_dir = args.cache_dir or osp.join('work_dirs', name, 'features')
    return apis.FeatureExtractor(
        cfg, args.checkpoint, output or args.output, args.dtype, args.bf16, cache_dir
    )
