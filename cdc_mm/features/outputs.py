from contextlib import contextmanager
from typing import Iterable, Iterator, List, Tuple

import torch
import torch.nn.functional as F
from mmpretrain.models import SwAVNeck
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from cdc_mm.datasets.transforms import is_blank
from cdc_mm.models import BaseClusterer
from cdc_mm.models.encoders import pooled_features


def iterate_outputs(
    model: nn.Module, loader: Iterable[dict], output: str = 'backbone'
) -> Iterator[Tuple[Tensor, List[DataSample]]]:
    """Run a model over a dataloader in evaluation mode.

    Images that ``LoadImage(on_error='blank')`` could not read are left out.

    Args:
        model (nn.Module): See :func:`known_outputs`.
        loader (Iterable): Batches as ``default_collate`` makes them.
        output (str): See :func:`known_outputs`. Defaults to ``backbone``.

    Yields:
        tuple: Rows (B, D), float32 on the CPU, and the B samples; B may be less than the batch has,
            or 0.

    Raises:
        ValueError: If the model has no such output.
    """
    check_output(model, output)
    with evaluating(model):
        for batch in loader:
            data = model.data_preprocessor(batch, False)
            samples = data['data_samples']
            kept = [i for i, sample in enumerate(samples) if not is_blank(sample)]
            rows = model_rows(model, data['inputs'], output)
            yield rows.float().cpu()[kept], [samples[i] for i in kept]


def known_outputs(model: nn.Module) -> Tuple[str, ...]:
    """What rows a model can give.

    Args:
        model (nn.Module): A clusterer (:class:`BaseClusterer`), or any model with a ``backbone``
            and perhaps a ``neck``, as mmpretrain's ``ImageClassifier`` and ``MoCo``.

    Returns:
        tuple: ``backbone``, the pooled features; of a clusterer whatever its ``embed`` names, as
        ``z``, ``zc`` and ``zn`` of CDC, and ``scores``, those of its clusters; of other models with
        a neck ``z``: what the neck gives, of unit norm.
    """
    if isinstance(model, BaseClusterer):
        return ('backbone', *model.embeddings, 'scores')
    return ('backbone', 'z') if getattr(model, 'neck', None) is not None else ('backbone',)


def check_output(model: nn.Module, output: str) -> None:
    """Refuse an output that a model does not have.

    Raises:
        ValueError: If the model has no such output.
    """
    known = known_outputs(model)
    if output not in known:
        raise ValueError(f'{type(model).__name__} has no {output}; it has {", ".join(known)}')


@torch.no_grad()
def model_rows(model: nn.Module, images: Tensor, output: str) -> Tensor:
    """Rows that a model gives for images.

    Args:
        model (nn.Module): See :func:`known_outputs`; its mode is left as it is.
        images (Tensor): Preprocessed, shape (B, C, H, W).
        output (str): One that the model has.

    Returns:
        Tensor: Shape (B, D).

    Raises:
        ValueError: If the backbone's output cannot be pooled to rows.
    """
    if isinstance(model, BaseClusterer):
        rows = model.encode(images)
        if output == 'backbone':
            return rows
        return model.scores(rows) if output == 'scores' else model.embed(rows)[output]
    if output == 'backbone':
        return pooled_features(model.backbone, images)
    features = model.backbone(images)
    # SwAV's takes a list of crops' features and gives rows, all others give them in a tuple.
    z = model.neck([features]) if isinstance(model.neck, SwAVNeck) else model.neck(features)[0]
    return F.normalize(z, dim=1)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards the model's mode is what it was."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
