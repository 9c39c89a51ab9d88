"""Arguments that several tools have."""

import argparse
import ast

from mmengine.config import DictAction


def _value(node: ast.AST):
    """The value of lists, tuples, ``dict(...)``, ``{...}`` and constants; no code is run."""
    if isinstance(node, ast.Call) and getattr(node.func, 'id', None) == 'dict' and not node.args:
        return {entry.arg: _value(entry.value) for entry in node.keywords}
    if isinstance(node, ast.Dict):
        return {_value(key): _value(entry) for key, entry in zip(node.keys, node.values)}
    if isinstance(node, (ast.List, ast.Tuple)):
        kind = list if isinstance(node, ast.List) else tuple
        return kind(_value(entry) for entry in node.elts)
    return ast.literal_eval(node)


class OptionsAction(DictAction):
    """mmengine's ``key=value ...``; besides, the blanks of a value stay and dicts are values.

    So ``'data_root=My Photos'`` and ``"custom_hooks=[dict(type='ReclusterHook')]"`` can be typed.
    """

    @staticmethod
    def _parse_iterable(val: str):
        if 'dict(' in val or val.startswith('{'):
            try:
                return _value(ast.parse(val.strip(), mode='eval').body)
            except (SyntaxError, TypeError, ValueError):
                if 'dict(' not in val:
                    return val  # a text such as '{x}'
                raise argparse.ArgumentError(
                    None, f'cannot read {val}: write dict(key=value, ...) with texts in quotes'
                ) from None
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
        help='override config entries: key=value ..., nested keys with dots, '
        'lists as key="[a,b]", dicts as key="dict(a=1)"',
    )
