from typing import Iterator, Tuple, Union

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


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


def _unit_chunks(
    rows: Union[np.ndarray, Tensor], size: int, device: Union[str, torch.device]
) -> Iterator[Tuple[int, Tensor]]:
    for start in range(0, len(rows), size):
        chunk = rows[start : start + size]
        if isinstance(chunk, np.ndarray):
            chunk = torch.from_numpy(np.array(chunk))  # a copy: a memory map is read-only
        yield start, F.normalize(chunk.to(device).float(), dim=1)
