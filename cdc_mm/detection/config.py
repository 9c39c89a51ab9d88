from pathlib import Path
from typing import Sequence

import torch
from detectron2.config import CfgNode, get_cfg

from cdc_mm.shipped import find_shipped


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
        ValueError, KeyError, AssertionError: For what detectron2 does not accept.
    """
    if Path(filename).suffix not in ('.yaml', '.yml'):
        raise ValueError(f'{filename} is no YAML file; see configs/detection/')
    cfg = get_cfg()
    cfg.FROM_SCRATCH = False
    cfg.PAPER = CfgNode(new_allowed=True)
    cfg.merge_from_file(find_shipped(filename), allow_unsafe=False)
    if not torch.cuda.is_available():
        cfg.MODEL.DEVICE = 'cpu'
    cfg.OUTPUT_DIR = f'work_dirs/{Path(filename).stem}'
    cfg.merge_from_list(list(options))
    return cfg
