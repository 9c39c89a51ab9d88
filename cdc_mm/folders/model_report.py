"""The page of what any trained clusterer says of images."""

from pathlib import Path
from typing import Any, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

from cdc_mm.evaluation.functional import unit_rows
from cdc_mm.wrappers import unwrap_model

from .assignments import Assignments, top_two
from .projection import project_2d
from .report import Written, write_report
from .results import find_outliers
from .sources import open_picture

_SIDE, _SMALL = 256, 64  # pixels


def report_model(
    model: nn.Module,
    dataloader: DataLoader,
    path: Union[str, Path],
    title: str,
    summary: Sequence[Tuple[str, Any]] = (),
    sureness: Optional[Mapping[str, Any]] = None,
    recipe: str = '',
) -> Written:
    """Write a page of the clusters that a clusterer gives the images of a data loader.

    Distances, outliers and the map are those of its rows of features, at unit length. Labels are
    not looked at.

    Args:
        model (nn.Module): A :class:`~cdc_mm.models.BaseClusterer`, wrapped or not.
        dataloader (DataLoader): Of a data set of images, in its order.
        path (str | Path): The .html file.
        title (str): Of the page.
        summary (Sequence): Pairs of a label and a value, after those of the images.
        sureness (Mapping, optional): See :func:`write_report`.
        recipe (str): How to make it again.

    Raises:
        RunError: If the file cannot be written.
    """
    model = unwrap_model(model)
    training = model.training
    model.eval()
    rows, probs = [], []
    with torch.no_grad():
        for batch in dataloader:
            inputs = model.data_preprocessor(batch, False)['inputs']
            found = model.encode(inputs)
            rows.append(found.float().cpu().numpy())
            probs.append(model.scores(found).float().softmax(dim=1).cpu().numpy())
    model.train(training)
    rows, probs = unit_rows(np.concatenate(rows)), np.concatenate(probs)
    cluster, confidence, second, second_confidence = top_two(probs)
    centres = np.zeros((probs.shape[1], rows.shape[1]), rows.dtype)
    for k in np.unique(cluster):
        centres[k] = rows[cluster == k].mean(axis=0)
    distance = np.linalg.norm(rows - centres[cluster], axis=1)
    dataset = dataloader.dataset
    assignments = Assignments(
        paths=[_name(dataset, index) for index in range(len(rows))],
        cluster=cluster,
        confidence=np.minimum(confidence, 1.0),
        second=second,
        second_confidence=second_confidence,
        stability=np.full(len(rows), np.nan),
        distance=distance,
        outlier=find_outliers(distance, cluster),
        duplicate_of=np.full(len(rows), -1),
        names=[str(k) for k in range(probs.shape[1])],
    )
    facts = [('Images', f'{len(rows):,}'), ('Clusters', str(probs.shape[1])), *summary]
    return write_report(
        path,
        assignments,
        xy=project_2d(rows, 0),
        thumbnail=lambda index: _thumbnail(dataset, index),
        title=title,
        summary=facts,
        sureness=sureness or {},
        warnings=[],
        curves={},
        num_clusters=None,
        recipe=recipe,
    )


def _name(dataset, index: int) -> str:
    path = dataset.get_data_info(index).get('img_path')
    return f'image {index}' if path is None else str(path)


def _thumbnail(dataset, index: int) -> Image.Image:
    info = dataset.get_data_info(index)
    given = info.get('img', info.get('img_path'))
    if isinstance(given, np.ndarray):
        given = given[..., 0] if given.shape[-1] == 1 else given[..., ::-1]  # BGR
    image = open_picture(given, str(index), min_side=_SIDE)
    image.thumbnail((_SIDE, _SIDE))
    if max(image.size) < _SMALL:  # every pixel shall be seen
        times = _SMALL // max(image.size)
        image = image.resize([times * side for side in image.size], Image.NEAREST)
    return image
