import difflib
import re
from pathlib import Path
from typing import Iterator, Sequence

import torch
from detectron2.config import CfgNode, get_cfg

from cdc_mm.shipped import find_shipped

_LONGEST = 300  # characters of a reason, in which detectron2 puts whole sections


def load_config(filename: str, options: Sequence[str] = ()) -> CfgNode:
    """Read a detection config.

    Two entries are added to detectron2's:

    - ``FROM_SCRATCH`` (bool): Whether the backbone may start without pretrained weights.
    - ``PAPER``: What the paper reports for this setting: ``TABLE``, ``COLUMNS`` (``task/metric``)
      and ``ROWS`` (by method, the values of the columns).

    Args:
        filename (str): A YAML file.
        options (Sequence[str]): ``KEY VALUE`` pairs that override its entries.

    Returns:
        CfgNode: On the CPU where there is no GPU.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, or names a key or value that there cannot be; in one line.
    """
    path = find_shipped(filename)
    if Path(filename).suffix not in ('.yaml', '.yml'):
        raise ValueError(f'{filename} is no YAML file; see configs/detection/')
    if not Path(path).is_file():
        raise FileNotFoundError(f'there is no config file {filename}; see configs/detection/')
    cfg = get_cfg()
    cfg.FROM_SCRATCH = False
    cfg.PAPER = CfgNode(new_allowed=True)
    if len(options) % 2:
        raise ValueError(f'{options[-1]}: options are pairs of KEY VALUE, and this is one alone')
    try:
        cfg.merge_from_file(path, allow_unsafe=False)
        if not torch.cuda.is_available():
            cfg.MODEL.DEVICE = 'cpu'
        cfg.OUTPUT_DIR = f'work_dirs/{Path(filename).stem}'
    except Exception as error:  # whatever a text that is no config leads to
        raise ValueError(f'config {filename}: {_reason(error, cfg)}') from error
    for key, value in zip(options[::2], options[1::2]):
        try:
            cfg.merge_from_list([key, value])
        except Exception as error:
            raise ValueError(f'{key} {value}: {_reason(error, cfg)}') from error
    _check_values(cfg)
    return cfg


def _check_values(cfg: CfgNode) -> None:
    """Refuse what detectron2 would fail by in its first iterations."""
    for key, value, least in (
        ('SOLVER.MAX_ITER', cfg.SOLVER.MAX_ITER, 1),
        ('SOLVER.IMS_PER_BATCH', cfg.SOLVER.IMS_PER_BATCH, 1),
        ('SOLVER.CHECKPOINT_PERIOD', cfg.SOLVER.CHECKPOINT_PERIOD, 1),
        ('DATALOADER.NUM_WORKERS', cfg.DATALOADER.NUM_WORKERS, 0),
    ):
        if value < least:
            raise ValueError(f'{key} must be at least {least}, got {value}')
    if not cfg.INPUT.MIN_SIZE_TRAIN:
        raise ValueError('INPUT.MIN_SIZE_TRAIN must name a size, got ()')
    formats = ('BGR', 'RGB', 'L')
    if cfg.INPUT.FORMAT not in formats:
        raise ValueError(f'INPUT.FORMAT must be one of {formats}, got {cfg.INPUT.FORMAT}')


def _reason(error: Exception, cfg: CfgNode) -> str:
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    mistyped = re.fullmatch(r'Non-existent (?:config )?key: (\S+)', text)
    if mistyped:
        near = difflib.get_close_matches(mistyped[1], _keys(cfg))
        return f'there is no {mistyped[1]}.' + (f' Near it: {", ".join(near)}.' if near else '')
    text = ' '.join(text.split())
    text = f'{text[:_LONGEST]} ...' if len(text) > _LONGEST else text
    known = isinstance(error, (AssertionError, KeyError, OSError, ValueError))
    return text if known else f'{type(error).__name__}: {text}'


def _keys(cfg: CfgNode, prefix: str = '') -> Iterator[str]:
    for key, value in cfg.items():
        if isinstance(value, CfgNode):
            yield from _keys(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}'
