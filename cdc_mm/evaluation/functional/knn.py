from typing import Dict, Iterator, Sequence, Tuple, Union

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


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


def nearest_neighbors(
    queries: Union[np.ndarray, Tensor],
    bank: Union[np.ndarray, Tensor],
    k: int,
    device: Union[str, torch.device] = 'cpu',
    query_chunk: int = 4096,
    bank_chunk: int = 16384,
) -> Tuple[Tensor, Tensor]:
    """The k rows of a bank with the highest cosine similarity to each query, exactly.

    The bank is read once, a chunk at a time, so it may be a memory map larger than the memory. On
    the device lie the queries, one chunk of the bank and one table of similarities.

    Args:
        queries (np.ndarray | Tensor): Shape (N, D).
        bank (np.ndarray | Tensor): Shape (M, D).
        k (int): Neighbours of each query, 1 to M.
        device (str | torch.device): Where to compute.
        query_chunk (int): Queries in a table of similarities.
        bank_chunk (int): Rows of the bank in a table of similarities.

    Returns:
        tuple: Cosine similarities (N, k), highest first, float32, and the rows' numbers in the
        bank (N, k); both on the device.

    Raises:
        ValueError: If k is out of range.
    """
    if not 1 <= k <= len(bank):
        raise ValueError(f'k must be between 1 and the {len(bank)} images of the bank, got {k}')
    queries = torch.cat([unit for _, unit in _unit_chunks(queries, query_chunk, device)])
    similarities = torch.empty(len(queries), 0, device=device)
    indices = torch.empty(len(queries), 0, dtype=torch.long, device=device)
    for start, chunk in _unit_chunks(bank, bank_chunk, device):
        best = []
        for i in range(0, len(queries), query_chunk):
            part = slice(i, i + query_chunk)
            table = queries[part] @ chunk.T
            index = torch.arange(start, start + len(chunk), device=device).expand_as(table)
            table, index = top_k(table, index, k)
            best.append(
                top_k(
                    torch.cat([similarities[part], table], 1),
                    torch.cat([indices[part], index], 1),
                    k,
                )
            )
        similarities, indices = (torch.cat(parts) for parts in zip(*best))
    return similarities, indices


def top_k(values: Tensor, companions: Tensor, k: int) -> Tuple[Tensor, Tensor]:
    """The k highest values of each row, highest first, and their companions (all if fewer).

    Args:
        values (Tensor): Shape (N, M).
        companions (Tensor): Shape (N, M).
        k (int): How many.

    Returns:
        tuple: Two tensors of shape (N, min(k, M)).
    """
    values, order = values.topk(min(k, values.shape[1]), dim=1)
    return values, companions.gather(1, order)


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


def _unit_chunks(
    rows: Union[np.ndarray, Tensor], size: int, device: Union[str, torch.device]
) -> Iterator[Tuple[int, Tensor]]:
    for start in range(0, len(rows), size):
        chunk = rows[start : start + size]
        if isinstance(chunk, np.ndarray):
            chunk = torch.from_numpy(np.array(chunk))  # a copy: a memory map is read-only
        yield start, F.normalize(chunk.to(device).float(), dim=1)
