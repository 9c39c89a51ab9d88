"""Which image of a folder is in which cluster: the tables, and names that a person gave."""

import csv
import hashlib
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np

from cdc_mm.atomic import write_atomically
from cdc_mm.errors import RunError
from cdc_mm.tables import escape_formula, unescape_formula, write_csv

#: What a file of names says it is.
NAMES_FORMAT = 'cdc_mm names 1'
MAX_NAME = 200  # characters
_ROWS = 65_536  # images whose probabilities are summed at once
_NAMES_KEYS = {'format', 'report', 'num_clusters', 'names'}
_COLUMNS = (
    'image',
    'cluster',
    'name',
    'confidence',
    'second',
    'second_confidence',
    'stability',
    'distance',
    'outlier',
    'duplicate_of',
    'near_duplicate_of',
)


@dataclass(frozen=True, eq=False)
class Assignments:
    """The clusters of N images, K of them; all arrays have shape (N,).

    Clusters of the same name are one, those whose name is empty are dropped (:func:`apply_names`);
    the numbers stay those of the model. Arrays are copied and read-only.

    Args:
        paths (list[str]): Of the images, relative to their folder, each once.
        cluster (np.ndarray): Cluster, in [0, K).
        confidence (np.ndarray): Probability of the cluster, with those that are one with it, in
            [0, 1].
        second (np.ndarray): The next best cluster of another name, in [0, K); -1 without one.
        second_confidence (np.ndarray): Its probability, in [0, 1].
        stability (np.ndarray): Share of the heads (or runs) that agree with the cluster, in [0, 1];
            NaN if it is not known.
        distance (np.ndarray): To the centre of the cluster, 0 or more; NaN if it is not known.
        outlier (np.ndarray): Whether the image belongs to no cluster, bool.
        duplicate_of (np.ndarray): Index of the first equal image; -1 for those without, and for
            the first itself.
        names (list[str], optional): Of the clusters, K. Defaults to None: their numbers, as many
            as the largest in ``cluster`` and ``second`` says.
        near_duplicate_of (np.ndarray, optional): Index of the first of a group of images that
            hardly differ; -1 for those without, for the first itself, and for those that equal
            another. Defaults to None: -1 for each.

    Raises:
        ValueError: If a column is not what is said here.
    """

    paths: List[str]
    cluster: np.ndarray
    confidence: np.ndarray
    second: np.ndarray
    second_confidence: np.ndarray
    stability: np.ndarray
    distance: np.ndarray
    outlier: np.ndarray
    duplicate_of: np.ndarray
    names: Optional[List[str]] = None
    near_duplicate_of: Optional[np.ndarray] = None

    def __post_init__(self):
        put = object.__setattr__
        put(self, 'paths', list(self.paths))
        if self.near_duplicate_of is None:
            put(self, 'near_duplicate_of', np.full(len(self.paths), -1))
        kinds = dict.fromkeys(
            ('cluster', 'second', 'duplicate_of', 'near_duplicate_of'), (np.int64, 'iu')
        )
        kinds.update(dict.fromkeys(('confidence', 'second_confidence'), (np.float64, 'f')))
        kinds.update(dict.fromkeys(('stability', 'distance'), (np.float64, 'f')))
        kinds['outlier'] = (np.bool_, 'b')
        for name, (dtype, kind) in kinds.items():
            put(self, name, _column(name, getattr(self, name), len(self.paths), dtype, kind))
        if self.names is None:
            largest = max([0, *self.cluster.tolist(), *self.second.tolist()])
            put(self, 'names', [str(k) for k in range(largest + 1)])
        put(self, 'names', list(self.names))
        self._check_paths_and_names()
        self._check_values()

    def _check_paths_and_names(self) -> None:
        if not all(isinstance(path, str) and path for path in self.paths):
            raise ValueError('paths must be texts that are not empty')
        if len(set(self.paths)) < len(self.paths):
            raise ValueError('a path occurs twice among the paths')
        if not self.names or not all(isinstance(name, str) for name in self.names):
            raise ValueError('names must be texts, one for each cluster')
        if max(map(len, self.names)) > MAX_NAME:
            raise ValueError(f'the name of a cluster has more than {MAX_NAME} characters')

    def _check_values(self) -> None:
        count = self.num_clusters
        _check_range('cluster', self.cluster, 0, count - 1)
        _check_range('second', self.second, -1, count - 1)
        if self.second_confidence[self.second < 0].any():
            raise ValueError('second_confidence must be 0 where there is no second')
        if (self.second == self.cluster).any():
            raise ValueError('second must be another cluster than the first')
        for name in ('confidence', 'second_confidence', 'stability'):
            # Sums of float32 may end a little beyond.
            known = getattr(self, name)
            known = known[~np.isnan(known)] if name == 'stability' else known
            _check_range(name, known, -1e-5, 1 + 1e-5)
        _check_range('distance', self.distance[~np.isnan(self.distance)], 0, np.inf)
        for name, of in (('duplicate_of', 'first equal image'), ('near_duplicate_of', 'first')):
            own = getattr(self, name)
            later = np.flatnonzero(own != -1)
            first = own[later]
            if (first < 0).any() or (first >= later).any() or (own[first] != -1).any():
                raise ValueError(f'{name} must be -1 or the index of the {of}')
        if ((self.duplicate_of >= 0) & (self.near_duplicate_of >= 0)).any():
            raise ValueError('near_duplicate_of must be -1 for an image that equals another')

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def num_clusters(self) -> int:
        """K."""
        return len(self.names)

    @property
    def sizes(self) -> np.ndarray:
        """Images of each cluster, shape (K,)."""
        return np.bincount(self.cluster, minlength=self.num_clusters)

    @property
    def is_copy(self) -> np.ndarray:
        """Which images equal, or hardly differ from, one before them, bool (N,)."""
        return (self.duplicate_of >= 0) | (self.near_duplicate_of >= 0)

    @property
    def report_id(self) -> str:
        """Sixteen hexadecimal digits of what was clustered and how, whatever the names are."""
        content = '\0'.join(self.paths).encode('utf-8', 'surrogateescape')
        content += b'\0\0' + self.cluster.astype('<i8').tobytes()
        return hashlib.sha256(content).hexdigest()[:16]

    def write_csv(self, path: Union[str, Path]) -> None:
        """Write a table with a line for each image, see :func:`cdc_mm.tables.write_csv`.

        The columns are ``image``, ``cluster``, ``name`` (of the cluster; empty if it is dropped),
        ``confidence``, ``second``, ``second_confidence``, ``stability`` and ``distance`` (empty
        where they are not known), ``outlier`` (True, False), ``duplicate_of`` and
        ``near_duplicate_of`` (the path of the first such image, or empty). Paths and names that a
        spreadsheet would run are escaped (:func:`~cdc_mm.tables.escape_formula`). Numbers have six
        decimals.

        Args:
            path (str | Path): The .csv file.

        Raises:
            RunError: If it cannot be written.
        """
        columns = []
        for values in self._columns().values():
            if isinstance(values, list):
                columns.append(['' if text is None else escape_formula(text) for text in values])
            elif values.dtype.kind == 'f':
                columns.append(['' if x != x else round(x, 6) for x in values.tolist()])
            else:
                columns.append(values.tolist())
        write_csv(path, _COLUMNS, zip(*columns))

    def write_parquet(self, path: Union[str, Path]) -> None:
        r"""Write the columns of :meth:`write_csv` as a Parquet file, typed and not escaped.

        Text in it must be UTF-8: the bytes of a name that are not become ``\\xff``.

        Args:
            path (str | Path): The .parquet file. It is the old or the whole new one.

        Raises:
            RunError: If pyarrow is not installed or the file cannot be written.
        """
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise RunError(
                f'{path}: writing Parquet needs pyarrow, which is not installed: '
                'pip install pyarrow, or write a .csv file'
            ) from error

        columns = {
            name: [None if text is None else _utf8(text) for text in values]
            if isinstance(values, list)
            else values
            for name, values in self._columns().items()
        }
        # Where all are None there would be no type.
        texts = {'image', 'name', 'duplicate_of', 'near_duplicate_of'}
        table = pyarrow.table(
            {
                name: pyarrow.array(values, pyarrow.string() if name in texts else None)
                for name, values in columns.items()
            }
        )
        file = io.BytesIO()
        parquet.write_table(table, file)
        write_atomically(path, file.getvalue())

    def _columns(self) -> Dict[str, Any]:
        names = [self.names[k] for k in self.cluster.tolist()]
        own = dict(image=self.paths, name=names)
        for name in ('duplicate_of', 'near_duplicate_of'):
            first = getattr(self, name).tolist()
            own[name] = [None if i < 0 else self.paths[i] for i in first]
        return {name: own.get(name, getattr(self, name, None)) for name in _COLUMNS}


def top_two(probs: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The best and the next best cluster of each image.

    Args:
        probs (np.ndarray): Probabilities, shape (N, K).

    Returns:
        tuple: ``cluster``, ``confidence``, ``second`` and ``second_confidence`` of
        :class:`Assignments`, shape (N,) each. Of equal ones the lower number comes first; if K is
        1 the second is -1 with 0.
    """
    probs = np.asarray(probs, np.float64)
    index = np.arange(len(probs))
    cluster = probs.argmax(axis=1)
    if probs.shape[1] == 1:
        return cluster, probs[:, 0], np.full(len(probs), -1), np.zeros(len(probs))
    others = probs.copy()
    others[index, cluster] = -np.inf
    second = others.argmax(axis=1)
    return cluster, probs[index, cluster], second, probs[index, second]


def merged_two(
    probs: np.ndarray, cluster: np.ndarray, names: Sequence[str]
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The probability of each image's cluster and the next best one, of clusters that were merged.

    Args:
        probs (np.ndarray): Probabilities, shape (N, K).
        cluster (np.ndarray): Cluster of each image, shape (N,).
        names (Sequence[str]): Of the clusters, K; those of the same name are one.

    Returns:
        tuple: Of each image (N,) the sum over the clusters that are one with its own; of the others
        that with the largest sum, as the number of the most probable of the clusters that are it;
        that sum. If all are one the second is -1 with 0.
    """
    kinds, group = np.unique(np.array(names), return_inverse=True)
    sums_of = np.eye(len(kinds))[group]  # (K, groups)
    confidence, second_confidence = np.empty(len(probs)), np.zeros(len(probs))
    second = np.full(len(probs), -1)
    for start in range(0, len(probs), _ROWS):
        part = np.asarray(probs[start : start + _ROWS], np.float64)
        index, stop = np.arange(len(part)), start + len(part)
        sums = part @ sums_of
        own = group[cluster[start:stop]]
        confidence[start:stop] = np.minimum(sums[index, own], 1)
        if len(kinds) == 1:
            continue
        sums[index, own] = -np.inf
        best = sums.argmax(axis=1)
        second_confidence[start:stop] = np.minimum(sums[index, best], 1)
        second[start:stop] = np.where(group == best[:, None], part, -np.inf).argmax(axis=1)
    return confidence, second, second_confidence


def read_csv(path: Union[str, Path], num_clusters: int) -> Assignments:
    """Read what :meth:`Assignments.write_csv` wrote.

    Args:
        path (str | Path): The .csv file.
        num_clusters (int): K; clusters without an image are not in the table.

    Returns:
        Assignments: The same up to the sixth decimal.

    Raises:
        RunError: If it is no such table.
    """
    try:
        with Path(path).open(newline='', encoding='utf-8', errors='surrogateescape') as file:
            header, *rows = csv.reader(file)
        if tuple(header) != _COLUMNS:
            raise ValueError(f'its columns are {", ".join(header)}')
        cells = dict(zip(_COLUMNS, zip(*rows, strict=True) if rows else [()] * len(_COLUMNS)))
        paths = [unescape_formula(cell) for cell in cells['image']]
        index = {name: i for i, name in enumerate(paths)}
        names = [str(k) for k in range(num_clusters)]
        for k, name in zip(cells['cluster'], cells['name']):
            names[int(k)] = unescape_formula(name)
        numbers = {
            name: np.array([float(cell or 'nan') for cell in cells[name]])
            for name in ('confidence', 'second_confidence', 'stability', 'distance')
        }
        return Assignments(
            paths=paths,
            cluster=np.array(cells['cluster'], dtype=np.int64),
            second=np.array(cells['second'], dtype=np.int64),
            outlier=np.array([{'True': True, 'False': False}[x] for x in cells['outlier']], bool),
            names=names,
            **{
                name: np.array(
                    [index[unescape_formula(x)] if x else -1 for x in cells[name]], np.int64
                )
                for name in ('duplicate_of', 'near_duplicate_of')
            },
            **numbers,
        )
    except (OSError, ValueError, KeyError, IndexError, csv.Error) as error:
        raise RunError(f'{path} is no table of clusters: {error}') from error


def apply_names(
    assignments: Assignments, names_file: Union[str, Path], probabilities: np.ndarray
) -> Assignments:
    """Give clusters the names that a person chose on the page of the report.

    The page saves a JSON file with ``names``, for each cluster a name, or null for a cluster that
    is dropped. Clusters of the same name are merged, and those that are dropped are one, too: the
    probabilities of merged clusters are summed.

    Args:
        assignments (Assignments): What the report was of.
        names_file (str | Path): The file.
        probabilities (np.ndarray): Of each image and cluster of the model, shape (N, K).

    Returns:
        Assignments: With these names; those of dropped clusters are empty. Clusters and their
        numbers stay those of the model: an image stays where it was seen on the page, even if
        others became likelier by their merger. Then ``second_confidence`` is above ``confidence``.

    Raises:
        RunError: If the file is none of names, is of another report or has another number of
            clusters.
        ValueError: If the probabilities are of other images or clusters.
    """
    path = Path(names_file)
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise RunError(f'{path} cannot be read: {error.strerror}') from error
    except (ValueError, RecursionError) as error:
        raise RunError(
            f'{path} is no JSON file: take the one that the page of the report saves'
        ) from error
    names = _checked_names(path, content, assignments)
    shape = (len(assignments), assignments.num_clusters)
    if np.shape(probabilities) != shape:
        raise ValueError(f'probabilities must be {shape}, got {np.shape(probabilities)}')
    found = merged_two(probabilities, assignments.cluster, names)
    confidence, second, second_confidence = found
    return replace(
        assignments,
        names=names,
        confidence=confidence,
        second=second,
        second_confidence=second_confidence,
    )


def _checked_names(path: Path, content: Any, assignments: Assignments) -> List[str]:
    if not isinstance(content, dict) or content.get('format') != NAMES_FORMAT:
        raise RunError(
            f'{path} is no file of names ("format": "{NAMES_FORMAT}"): take the one that the page '
            'of the report saves'
        )
    if set(content) != _NAMES_KEYS:
        wrong = ', '.join(sorted(repr(key) for key in set(content) ^ _NAMES_KEYS))
        raise RunError(f'{path}: keys that are unknown or missing: {wrong}')
    count, names = assignments.num_clusters, content['names']
    if content['num_clusters'] != count or not isinstance(names, list) or len(names) != count:
        of = len(names) if isinstance(names, list) else content['num_clusters']
        raise RunError(
            f'{path} names {of} clusters, but there are {count}: it is of another report'
        )
    if content['report'] != assignments.report_id:
        raise RunError(
            f'{path} is of report {content["report"]!r}, this is {assignments.report_id!r}: '
            'take the file that was saved from the page of this report'
        )
    for k, name in enumerate(names):
        if name is not None and not _is_name(name):
            raise RunError(
                f'{path}: the name of cluster {k} must be a text of 1 to {MAX_NAME} characters, or '
                'null to drop it'
            )
    return ['' if name is None else name.strip() for name in names]


def _is_name(name: Any) -> bool:
    # JSON can hold halves of characters, which no file can.
    return (
        isinstance(name, str)
        and 0 < len(name.strip()) <= MAX_NAME
        and not any('\ud800' <= char <= '\udfff' for char in name)
    )


def _column(name: str, values: Sequence, count: int, dtype: type, kind: str) -> np.ndarray:
    values = np.asarray(values)
    if values.shape != (count,):
        raise ValueError(f'{name} must have a value for each of {count} images, got {values.shape}')
    if count and values.dtype.kind not in kind:
        raise ValueError(f'{name} must be {np.dtype(dtype).name}, got {values.dtype}')
    values = values.astype(dtype)
    values.setflags(write=False)
    return values


def _check_range(name: str, values: np.ndarray, low: float, high: float) -> None:
    # Written so that NaN is refused.
    if len(values) and not (values.min() >= low and values.max() <= high):
        raise ValueError(
            f'{name} must be in [{low:g}, {high:g}], got {values.min():g} to {values.max():g}'
        )


def _utf8(text: str) -> str:
    return text.encode('utf-8', 'surrogateescape').decode('utf-8', 'backslashreplace')
