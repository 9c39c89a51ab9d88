from typing import Dict, Sequence, Union

import numpy as np
import torch
from torch import Tensor

from cdc_mm.features import nearest_neighbors


def knn_accuracy(
    queries: Union[np.ndarray, Tensor],
    query_labels: Sequence[int],
    bank: Union[np.ndarray, Tensor],
    bank_labels: Sequence[int],
    k: int = 200,
    temperatures: Sequence[float] = (0.07, 0.1),
    device: Union[str, torch.device] = 'cpu',
) -> Dict[float, float]:
    """Accuracy of the weighted kNN classifier; see :func:`knn_scores`.

    Args:
        queries (np.ndarray | Tensor): Features of the images to classify, shape (N, D).
        query_labels (Sequence[int]): Their classes, from 0.
        bank (np.ndarray | Tensor): Features of the labelled images, shape (M, D).
        bank_labels (Sequence[int]): Their classes, from 0.
        k (int): Neighbours, 1 to M. Defaults to 200.
        temperatures (Sequence[float]): Temperatures to evaluate.
        device (str | torch.device): Where to compute.

    Returns:
        dict: Top-1 accuracy in percent by temperature.

    Raises:
        ValueError: If k or a temperature is out of range.
    """
    similarities, indices = nearest_neighbors(queries, bank, k, device)
    neighbors = torch.as_tensor(bank_labels, device=device)[indices]
    return vote_accuracy(similarities, neighbors, query_labels, temperatures)


def vote_accuracy(
    similarities: Tensor,
    neighbors: Tensor,
    labels: Sequence[int],
    temperatures: Sequence[float],
) -> Dict[float, float]:
    """Accuracy of the votes of neighbours that have been found.

    Args:
        similarities (Tensor): Cosine similarities, shape (N, k).
        neighbors (Tensor): Classes of the neighbours, shape (N, k).
        labels (Sequence[int]): Classes of the queries, shape (N,).
        temperatures (Sequence[float]): Temperatures to evaluate.

    Returns:
        dict: Top-1 accuracy in percent by temperature.
    """
    labels = torch.as_tensor(labels, device=neighbors.device)
    num_classes = int(neighbors.max()) + 1
    return {
        t: 100
        * (knn_scores(similarities, neighbors, num_classes, t).argmax(1) == labels)
        .double()
        .mean()
        .item()
        for t in temperatures
    }


def knn_scores(
    similarities: Tensor, labels: Tensor, num_classes: int, temperature: float
) -> Tensor:
    """Class scores of the weighted kNN classifier of `Wu et al. <https://arxiv.org/abs/1805.01978>`_

    A neighbour votes for its class with the weight exp(similarity / temperature).

    Args:
        similarities (Tensor): Cosine similarities of the neighbours, shape (N, k).
        labels (Tensor): Classes of the neighbours, shape (N, k), int64.
        num_classes (int): C.
        temperature (float): Above 0. The field uses 0.07 and 0.1.

    Returns:
        Tensor: Shape (N, C), summing to 1 in each row.

    Raises:
        ValueError: If ``temperature`` is not positive.
    """
    if temperature <= 0:
        raise ValueError(f'temperature must be above 0, got {temperature}')
    weights = torch.softmax(similarities.float() / temperature, dim=1)
    scores = torch.zeros(len(weights), num_classes, device=weights.device)
    return scores.scatter_add_(1, labels, weights)
