import os
from pathlib import Path
from typing import BinaryIO, Iterable

import numpy as np

from cdc_mm.errors import RunError


def write_rows(path: Path, batches: Iterable[np.ndarray], dtype: str) -> None:
    """Write rows, batch by batch, as one ``.npy`` file that is there whole or not at all.

    Args:
        path (Path): The file.
        batches (Iterable): Arrays (B, D).
        dtype (str): Of the rows on disk.

    Raises:
        RunError: If a value is not finite in ``dtype``, or there is no row.
    """
    part = path.with_suffix(f'.{os.getpid()}.part')
    try:
        count = 0
        with open(part, 'wb') as file:
            for rows in batches:
                with np.errstate(over='ignore'):
                    rows = np.ascontiguousarray(rows, dtype=dtype)
                if not np.isfinite(rows).all():
                    raise RunError(
                        f'features are not finite in {dtype}: '
                        + ('use float32' if dtype == 'float16' else 'the network diverged')
                    )
                if file.tell() == 0:
                    _write_header(file, rows, 0)
                file.write(rows)
                count += len(rows)
            if count == 0:
                raise RunError('none of the images could be read')
            # Headers leave room for any number of rows.
            file.seek(0)
            _write_header(file, rows, count)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _write_header(file: BinaryIO, rows: np.ndarray, count: int) -> None:
    header = np.lib.format.header_data_from_array_1_0(rows)
    header['shape'] = (count, rows.shape[1])
    np.lib.format.write_array_header_1_0(file, header)
