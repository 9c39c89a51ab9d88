import hashlib
import io
import re
from collections import OrderedDict
from pathlib import Path
from typing import Union

import torch

from cdc_mm.atomic import write_atomically

from .files import check_finite, read_checkpoint, read_state_dict

#: How the names of state start that no model here needs for prediction; see ``training_only`` of
#: the clusterers.
TRAINING_ONLY = (
    'momentum_encoder.',
    'queue.',
    'targets.',
    'head.assigner.',
    'pseudo_labels.',
    'student.',
    'prior',
    'decoder.',
    'soft_targets',
    'overclusters.',
    'predictor.',
    'feature_clusters.labels',
    'feature_clusters.memory',
    'moved',
)
# Clusterers in others, as of SelfLabel and MultiHead.
_INSIDE = r'(clusterer\.|heads\.\d+\.)*'


def publish_checkpoint(checkpoint: str, out: Union[str, Path]) -> Path:
    """Write a checkpoint of a training as a small file to hand on: the weights of prediction alone.

    Optimiser, schedulers, message hub, config (with its paths) and state that only training needs
    are left out. The name gets the first eight hexadecimal digits of the file's SHA-256, which
    :func:`~cdc_mm.checkpoints.fetch_checkpoint` compares.

    Args:
        checkpoint (str): Of any training here.
        out (str | Path): The file; ``x.pth`` becomes ``x-0123abcd.pth``.

    Returns:
        Path: The file that was written.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If it is damaged, or holds no weights, code, NaN or infinity.
        RunError: If the file cannot be written.
    """
    weights = read_state_dict(checkpoint)
    training_only = re.compile(f'{_INSIDE}({"|".join(map(re.escape, TRAINING_ONLY))})')
    state = OrderedDict(
        # A copy: a view would bring along all that it is a part of.
        (name, value.detach().clone())
        for name, value in weights.items()
        if not training_only.match(name)
    )
    check_finite(state, state, checkpoint)
    meta = read_checkpoint(checkpoint).get('meta')
    kept = {key: meta[key] for key in ('dataset_meta',) if key in meta} if meta else {}
    file = io.BytesIO()
    torch.save(dict(meta=kept, state_dict=state), file)
    content = file.getvalue()
    out = Path(out)
    digest = hashlib.sha256(content).hexdigest()[:8]
    path = out.with_name(f'{out.stem}-{digest}{out.suffix or ".pth"}')
    write_atomically(path, content)
    return path
