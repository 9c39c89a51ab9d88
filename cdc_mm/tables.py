import csv
import io
import re
from pathlib import Path
from typing import Iterable, Optional, Sequence, Union

import numpy as np

from .atomic import write_atomically


def write_csv(path: Union[str, Path], columns: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Write a table such as which image is in which cluster.

    Args:
        path (str | Path): The table, a .csv file; its folder is made. It is the old or the whole
            new one, see :func:`~cdc_mm.atomic.write_atomically`.
        columns (Sequence[str]): Their names.
        rows (Iterable): For each row its values. Names of files that are not valid UTF-8 are
            written as the bytes that they are.

    Raises:
        RunError: If it cannot be written.
    """
    text = io.StringIO(newline='')
    csv.writer(text).writerows([columns, *rows])
    write_atomically(path, text.getvalue())


# What makes a spreadsheet run a cell, after the apostrophes of earlier escapes.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
_ESCAPED = re.compile(r"'+[=+\-@\t\r\n]")


def escape_formula(text: str) -> str:
    """Text of others, such as the name of a file, as a cell that no spreadsheet runs as a formula.

    A text that starts with ``=``, ``+``, ``-``, ``@``, a tab or the end of a line gets an
    apostrophe in front (OWASP, CSV injection). Numbers are not of others and stay as they are.

    Args:
        text (str): Any.

    Returns:
        str: The cell; :func:`unescape_formula` gives the text back.
    """
    return f"'{text}" if _FORMULA.match(text) else text


def unescape_formula(cell: str) -> str:
    """The text of a cell of :func:`escape_formula`."""
    return cell[1:] if _ESCAPED.match(cell) else cell


def markdown_table(header: Sequence[str], rows: Iterable[Sequence]) -> str:
    """Draw up a table in Markdown, its columns below each other so that a terminal shows it too.

    Args:
        header (Sequence[str]): Names of the columns.
        rows (Iterable): For each row as many cells as there are columns.

    Returns:
        str: The lines, the last one without an end.

    Raises:
        ValueError: If a row has another number of cells.
    """
    lines = [[str(cell).replace('|', '\\|') for cell in line] for line in (header, *rows)]
    for line in lines:
        if len(line) != len(header):
            raise ValueError(f'{len(header)} columns, but a row has {len(line)} cells: {line}')
    widths = [max(3, *map(len, column)) for column in zip(*lines)]
    lines.insert(1, ['-' * width for width in widths])
    return '\n'.join(
        f'| {" | ".join(cell.ljust(width) for cell, width in zip(line, widths))} |'
        for line in lines
    )


def mean_std(values: Sequence[float], digits: int = 1) -> str:
    """The mean of some runs and their sample standard deviation (n - 1): ``86.5 +- 5.0``.

    The runs are a sample of all that there could be, whence n - 1.

    Args:
        values (Sequence[float]): One for each run. One alone has no deviation.
        digits (int): Decimals. Defaults to 1.

    Returns:
        str: ``mean +- deviation``, or the only value.
    """
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return plus_minus(float(np.mean(values)), std, digits)


def plus_minus(mean: float, std: Optional[float] = None, digits: int = 1) -> str:
    """A mean and a deviation that are known already; see :func:`mean_std`."""
    return f'{mean:.{digits}f}' + ('' if std is None else f' +- {std:.{digits}f}')
