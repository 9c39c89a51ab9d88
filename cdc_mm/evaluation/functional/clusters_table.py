import csv
from pathlib import Path
from typing import Iterable, Sequence, Union


def write_clusters_table(
    path: Union[str, Path], columns: Sequence[str], rows: Iterable[Sequence]
) -> None:
    """Write which image is in which cluster.

    Args:
        path (str | Path): The table, a .csv file; its folder is made.
        columns (Sequence[str]): Their names.
        rows (Iterable): A sequence of values for each image.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # File names need not be valid UTF-8.
    with path.open('w', newline='', encoding='utf-8', errors='surrogateescape') as file:
        csv.writer(file).writerows([columns, *rows])
