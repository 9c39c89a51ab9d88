"""Arguments that several tools have."""

import argparse

from mmengine.config import DictAction


def add_shared_args(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust-checkpoint`` and ``--cfg-options``."""
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='load checkpoints that can run code; only for files whose maker you trust',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override config entries: key=value ..., nested keys with dots, lists as key="[a,b]"',
    )
