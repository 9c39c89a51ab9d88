import hashlib
from pathlib import Path
from typing import Iterator, Tuple, Union

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dist import is_main_process
from torch import Tensor

from cdc_mm.array_file import ArrayWriter, check_array, remove_array, writing_to
from cdc_mm.console import say, track
from cdc_mm.processes import sharing_errors

from .store import FeatureStore, Rows

# Queries whose rows are held at once for a table of neighbours: the more, the less often all rows
# are read; the fewer, the sooner there is progress to show.
TABLE_QUERIES = 65_536
_LEAST_QUERIES, _SHOWN_STEPS = 4096, 16


def neighbor_table(
    store: FeatureStore, ids: np.ndarray, k: int, device: Union[str, torch.device] = 'cpu'
) -> np.ndarray:
    """The k nearest of each image among the others, kept beside their rows.

    On several ranks the first computes it.

    Args:
        store (FeatureStore): Holds a row of each image.
        ids (np.ndarray): Ids of the N images, in their order.
        k (int): Neighbours of each, 1 to N - 1.
        device (str | torch.device): Where to compute.

    Returns:
        np.ndarray: Numbers of the neighbours (N, k), nearest first, an image never among its own;
        int32, a memory map.

    Raises:
        RunError: If it cannot be written; on all ranks.
        ValueError: If k is out of range.
    """
    if not 1 <= k < len(ids):
        raise ValueError(
            f'the number of neighbours must be between 1 and the {len(ids) - 1} other images, got '
            f'{k}'
        )
    digest = hashlib.sha256(np.ascontiguousarray(ids).tobytes()).hexdigest()[:16]
    path = store.path / f'neighbors-{k}-{digest}'
    with sharing_errors():
        if is_main_process() and not _is_good(path, (len(ids), k)):
            rows, _ = store.rows(ids)
            with store.locked():
                # Anew: another process may have made it meanwhile.
                if not _is_good(path, (len(ids), k)):
                    _write_table(path, rows, k, device)
    with sharing_errors():
        return np.load(f'{path}.npy', mmap_mode='r', allow_pickle=False)


def other_neighbors(
    rows: Union[np.ndarray, Rows], k: int, device: Union[str, torch.device], start: int, stop: int
) -> np.ndarray:
    """The k nearest of rows start to stop among all rows but each itself.

    Args:
        rows (np.ndarray | Rows): Shape (N, D).
        k (int): 1 to N - 1.
        device (str | torch.device): Where to compute.
        start (int): First of the queries.
        stop (int): One after the last.

    Returns:
        np.ndarray: Shape (stop - start, k), nearest first.
    """
    found = nearest_neighbors(rows[start:stop], rows, k + 1, device)[1].cpu().numpy()
    others = found != np.arange(start, stop)[:, None]
    # Among many images of the same content it may not have found itself.
    others[:, -1] &= ~others.all(axis=1)
    return found[others].reshape(len(found), k)


def _write_table(
    path: Path, rows: Union[np.ndarray, Rows], k: int, device: Union[str, torch.device]
) -> None:
    queries = min(TABLE_QUERIES, max(_LEAST_QUERIES, len(rows) // _SHOWN_STEPS))
    starts = range(0, len(rows), queries)
    say(f'the {k} nearest of {len(rows)} images')
    with writing_to(path.parent):
        writer = ArrayWriter(path, 'int32')
        try:
            for start in track(starts, 'neighbours'):
                stop = min(start + queries, len(rows))
                writer.append(other_neighbors(rows, k, device, start, stop))
            writer.finish({})
        finally:
            writer.discard()


def _is_good(path: Path, shape: Tuple[int, int]) -> bool:
    if not path.with_suffix('.json').is_file():
        return False
    try:
        if check_array(path, 'int32') != shape:
            raise ValueError(f'it is not of shape {shape}')
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f'{path}.npy is left out and made anew: {error}', flush=True)
        remove_array(path)
        return False
    return True


def nearest_neighbors(
    queries: Union[np.ndarray, Rows, Tensor],
    bank: Union[np.ndarray, Rows, Tensor],
    k: int,
    device: Union[str, torch.device] = 'cpu',
    query_chunk: int = 4096,
    bank_chunk: int = 16384,
) -> Tuple[Tensor, Tensor]:
    """The k rows of a bank with the highest cosine similarity to each query, exactly.

    The bank is read once, a chunk at a time, so it may be a memory map larger than the memory. On
    the device lie the queries, one chunk of the bank and one table of similarities. On the CPU
    faiss does it where it is installed, with the whole bank in memory.

    Args:
        queries (np.ndarray | Rows | Tensor): Shape (N, D).
        bank (np.ndarray | Rows | Tensor): Shape (M, D).
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
    faiss = _import_faiss() if torch.device(device).type == 'cpu' else None
    if faiss is not None:
        return _search_by_faiss(faiss, queries, bank, k, query_chunk, bank_chunk)
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


def _import_faiss():
    """The optional library, or None."""
    try:
        import faiss
    except ImportError:
        return None
    return faiss


def _search_by_faiss(faiss, queries, bank, k, query_chunk, bank_chunk) -> Tuple[Tensor, Tensor]:
    index = faiss.IndexFlatIP(bank.shape[1])  # exact: inner products with every row
    for _, chunk in _unit_chunks(bank, bank_chunk, 'cpu'):
        index.add(chunk.numpy())
    found = [
        index.search(chunk.numpy(), k) for _, chunk in _unit_chunks(queries, query_chunk, 'cpu')
    ]
    similarities, indices = (torch.from_numpy(np.concatenate(parts)) for parts in zip(*found))
    return similarities, indices.long()


def _unit_chunks(
    rows: Union[np.ndarray, Rows, Tensor], size: int, device: Union[str, torch.device]
) -> Iterator[Tuple[int, Tensor]]:
    for start in range(0, len(rows), size):
        chunk = rows[start : start + size]
        if isinstance(chunk, np.ndarray):
            chunk = torch.from_numpy(np.array(chunk))  # a copy: a memory map is read-only
        yield start, F.normalize(chunk.to(device).float(), dim=1)
