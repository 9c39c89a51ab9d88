"""Arguments that several tools have."""

import argparse

from mmengine.config import DictAction


class OptionsAction(DictAction):
    """mmengine's ``key=value ...``, but the blanks of a value stay: ``'data_root=My Photos'``."""

    @staticmethod
    def _parse_iterable(val: str):
        if ',' in val or val.startswith(('(', '[')):
            return DictAction._parse_iterable(val)
        return DictAction._parse_int_float_bool(val.strip('\'"'))


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
        action=OptionsAction,
        help='override config entries: key=value ..., nested keys with dots, lists as key="[a,b]"',
    )
