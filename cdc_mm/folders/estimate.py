"""How long clustering a folder will take, from a few images of it."""

import os
import time
from copy import deepcopy
from pathlib import Path
from typing import Callable, Union

import numpy as np
import torch
from mmengine.device import get_device

from cdc_mm.features import nearest_neighbors
from cdc_mm.features.outputs import evaluating
from cdc_mm.memory import keep_freed_memory
from cdc_mm.models.utils import inference_copy

from .image_clusterer import ImageClusterer

_TRIED, _BATCH = 16, 32
_QUERIES, _BANK = 512, 4096
# Seconds of the rest (k-means of the heads, how sure, map, report), a part of them for each image;
# measured on two cores.
_REST, _REST_AN_IMAGE = 6, 0.002
# Seconds of communities for each image, of so many at most; likewise.
_COMMUNITIES, _MOST_IN_COMMUNITIES = 0.002, 20_000


def estimate_seconds(clusterer: ImageClusterer, folder: Union[str, Path]) -> str:
    """Say how long it will take, after a try with a few images.

    Args:
        clusterer (ImageClusterer): Not fitted.
        folder (str | Path): The images.

    Returns:
        str: A line.
    """
    opened = clusterer.open_images(folder)
    missing, total = opened.missing, len(opened.images)
    learns = clusterer.finetune_epochs > 0
    # Seconds to read an image and encode it by the frozen network.
    each = _seconds_an_image(opened, clusterer.num_workers) if missing or learns else 0.0
    encoding = missing * each
    width = opened.encoder.feat_dim
    training = clusterer.steps(total) * _seconds_a_step(clusterer, width, total)
    if missing:  # else the neighbours are known, too
        training += total**2 * _seconds_a_pair(width)
    if not clusterer.balanced:
        training += _COMMUNITIES * min(total, _MOST_IN_COMMUNITIES)
    finetuning = 0.0
    if learns:
        there_and_back = clusterer.finetune_epochs * total * _seconds_a_trained_image(opened)
        finetuning = there_and_back + (clusterer.finetune_epochs + 1) * total * each + training
    learning = f'{_rounded(finetuning)} for the network to learn, too; ' * learns
    rest = _REST + _REST_AN_IMAGE * total
    known = f' ({total - missing:,} are known)' if missing < total else ''
    whole = encoding + training + finetuning + rest
    encode = f'{_rounded(encoding)} to encode {missing:,} images{known}'
    return (
        f'about {_rounded(whole)}: {encode if missing else "all images are encoded already"} '
        f'by {clusterer.named_encoder.note}, at {clusterer.image_size} pixels; '
        f'{_rounded(training)} to cluster; {learning}{_rounded(rest)} for map and report'
    )


def _seconds_an_image(opened, num_workers: int) -> float:
    images, encoder = opened.images, opened.encoder
    numbers = np.unique(np.linspace(0, len(images) - 1, _TRIED).astype(int))
    size = images[0]['inputs'].shape[-2:]
    reading = _least(lambda: [images[int(number)] for number in numbers], 1) / len(numbers)
    keep_freed_memory()
    device = get_device()
    encoder.to(device)
    batch = torch.zeros(min(_BATCH, len(images)), 3, *size, device=device)
    with torch.no_grad(), evaluating(encoder):
        network_at_rest = inference_copy(encoder, batch[:2])
        network = _least(lambda: network_at_rest(batch).cpu(), 3) / len(batch)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    if device == 'cpu':
        # Readers and network share the cores.
        return network + reading / cores
    return max(network, reading / max(1, min(num_workers, cores)))


def _seconds_a_trained_image(opened) -> float:
    """There and back through the network, besides reading it and a look at it."""
    size = opened.images[0]['inputs'].shape[-2:]
    # In evaluation mode, as its batch norm keeps its statistics.
    network = deepcopy(opened.encoder.backbone).to(get_device()).requires_grad_().eval()
    batch = torch.zeros(_BATCH, 3, *size, device=get_device())

    def there_and_back() -> None:
        output = network(batch)
        output = output[-1] if isinstance(output, (list, tuple)) else output
        output.sum().backward()
        output.sum().item()  # waits for a GPU

    return _least(there_and_back, 2) / _BATCH


def _seconds_a_step(clusterer: ImageClusterer, feat_dim: int, total: int) -> float:
    clusterer.feat_dim_ = feat_dim
    model, batch = clusterer.trial_model(total)
    rows = torch.randn(2, batch, feat_dim, device=get_device())
    model.to(rows.device)

    def step() -> None:
        losses = model(dict(view1=rows[0], neighbor=rows[1]), mode='loss')
        (losses['loss_neighbor'] + losses['loss_entropy']).backward()

    # Reading rows and the optimiser take as long again.
    return 2 * _least(step, 3)


def _seconds_a_pair(feat_dim: int) -> float:
    """To compare two rows, in the search for neighbours."""
    queries, bank = torch.randn(_QUERIES, feat_dim), torch.randn(_BANK, feat_dim)
    seconds = _least(lambda: nearest_neighbors(queries, bank, 21, get_device()), 4)
    return seconds / (_QUERIES * _BANK)


def _least(function: Callable, times: int) -> float:
    """Seconds of the fastest call: other work, or a first call, makes the others slower."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _rounded(seconds: float) -> str:
    if seconds < 150:
        return f'{max(5, 5 * round(seconds / 5))} s'
    return f'{seconds / 60:.0f} min' if seconds < 5400 else f'{seconds / 3600:.1f} h'
