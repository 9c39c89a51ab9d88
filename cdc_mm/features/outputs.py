from typing import Iterable, Iterator, List, Optional, Tuple

import torch
import torch.nn.functional as F
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from cdc_mm.datasets.transforms import is_blank
from cdc_mm.models import BaseClusterer
from cdc_mm.models.encoders import pool_features

OUTPUTS = ('backbone', 'z', 'zc', 'zn')


@torch.no_grad()
def iterate_outputs(
    model: nn.Module,
    loader: Iterable[dict],
    output: str = 'backbone',
    view: Optional[int] = None,
) -> Iterator[Tuple[Tensor, List[DataSample]]]:
    """Run a model over a dataloader in eval mode.

    Images that ``LoadImage(on_error='blank')`` could not read are left out.

    Args:
        model (nn.Module): A model with ``data_preprocessor`` and ``backbone``. ``z`` needs a
            :class:`BaseCDC` or a ``neck``, as mmpretrain's ``MoCo`` has; ``zc`` and ``zn`` a
            :class:`BaseCDC`.
        loader (Iterable): Batches as ``default_collate`` makes them.
        output (str): ``backbone``: its globally average-pooled feature map. ``z``: [zc, zn], each
            part of unit norm; ``zc`` or ``zn``: one part of it. Of other models ``z`` is what the
            neck gives, of unit norm.
        view (int, optional): Augment the images as in training and take this view of them, 0 being
            the first. None leaves them as they are.

    Yields:
        tuple: Rows (B, D), float32 on the CPU, and the B samples; B may be less than the batch has,
            or 0.

    Raises:
        ValueError: If ``output`` is not known, or the model has none such.
    """
    check_output(model, output)
    training = model.training
    model.eval()
    try:
        for batch in loader:
            data = model.data_preprocessor(batch, view is not None)
            inputs = data['inputs'] if view is None else data['inputs'][view]
            rows = _rows(model, inputs, output)
            samples = data['data_samples']
            kept = [i for i, sample in enumerate(samples) if not is_blank(sample)]
            yield rows.float().cpu()[kept], [samples[i] for i in kept]
    finally:
        model.train(training)


def known_outputs(model: nn.Module) -> Tuple[str, ...]:
    """Which outputs a model has; see :func:`iterate_outputs`."""
    if isinstance(model, BaseClusterer):
        return ('backbone', *model.embeddings)
    return ('backbone', 'z') if getattr(model, 'neck', None) is not None else ('backbone',)


def check_output(model: nn.Module, output: str) -> None:
    """Refuse an output that a model does not have.

    Raises:
        ValueError: If ``output`` is not known, or the model has none such.
    """
    if output not in OUTPUTS:
        raise ValueError(f'output must be one of {", ".join(OUTPUTS)}, got {output}')
    known = known_outputs(model)
    if output not in known:
        raise ValueError(f'{type(model).__name__} has no {output}; it has {", ".join(known)}')


def _rows(model: nn.Module, image: Tensor, output: str) -> Tensor:
    if isinstance(model, BaseClusterer):
        rows = model.encode(image)
        return rows if output == 'backbone' else model.embed(rows)[output]
    features = model.backbone(image)
    if output == 'backbone':
        return pool_features(features)
    return F.normalize(model.neck(features)[0], dim=1)
