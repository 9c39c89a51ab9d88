from typing import Optional

import torch
from torch import Tensor, nn


class Queue(nn.Module):
    """The newest rows that it was given, as state that a checkpoint keeps.

    It holds nothing until :meth:`start`, or until a checkpoint with rows is loaded. Batches may
    have any size; at its end it wraps around.

    Attributes:
        rows (Tensor): Shape (L, D), a buffer.
        ptr (Tensor): Where the next row goes, a scalar buffer: no step waits for the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer('rows', None)
        self.register_buffer('ptr', None)

    def __len__(self) -> int:
        return 0 if self.rows is None else len(self.rows)

    def start(self, rows: Tensor) -> None:
        """Begin anew, with ``rows`` (L, D), L at least 1, as content."""
        self.rows = rows
        self.ptr = torch.zeros((), dtype=torch.long, device=rows.device)

    @torch.no_grad()
    def enqueue(self, rows: Tensor) -> None:
        """Overwrite the oldest rows.

        Args:
            rows (Tensor): Rows of all ranks, shape (N, D), newest last, any N.
        """
        size = len(self.rows)
        kept = rows[-size:].to(self.rows.dtype)
        skipped = len(rows) - len(kept)
        index = (self.ptr + skipped + torch.arange(len(kept), device=rows.device)) % size
        self.rows.index_copy_(0, index, kept)
        self.ptr.add_(len(rows)).remainder_(size)

    def newest(self, count: int) -> Tensor:
        """The ``count`` newest rows (at most all), newest first, (count, D)."""
        back = torch.arange(1, min(count, len(self.rows)) + 1, device=self.rows.device)
        return self.rows[(self.ptr - back) % len(self.rows)]

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        stored: Optional[Tensor] = state_dict.get(f'{prefix}rows')
        if self.rows is None and stored is not None:
            self.start(torch.empty_like(stored))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        """Name the size when printed."""
        return 'not started' if self.rows is None else f'{len(self.rows)} x {self.rows.shape[1]}'
