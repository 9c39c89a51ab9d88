"""A folder of images in; tables, a report and a model out."""

import io
import json
import shlex
import time
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import List, Optional, Union

import numpy as np

from cdc_mm.atomic import write_atomically
from cdc_mm.console import say
from cdc_mm.engine import holding
from cdc_mm.engine.console_runner import warnings_only
from cdc_mm.errors import RunError
from cdc_mm.evaluation.functional import SURENESS
from cdc_mm.features import tell_unreadable, told_once, unreadable

from .assignments import Assignments, apply_names, read_csv
from .copies import link_clusters
from .encoders import DEFAULT_ENCODER, find_encoder
from .estimate import estimate_seconds
from .image_clusterer import ImageClusterer, default_store_dir, size_for
from .results import assignments_of, find_warnings, write_page
from .saved import read_json
from .sources import as_folder
from .survey import Survey, survey

_MARK = 'cluster.json'  # tells a folder of ours from others
_FORMAT = 'cdc_mm clusters 1'
_TABLE, _PAGE, _MODEL = 'assignments.csv', 'report.html', 'model'
_PROBABILITIES = 'probabilities.npy'


def cluster_folder(
    folder: Union[str, Path],
    out: Union[str, Path],
    num_clusters: Optional[Union[int, str]] = None,
    model: Optional[Union[str, Path]] = None,
    names: Optional[Union[str, Path]] = None,
    folders: Optional[str] = None,
    parquet: bool = False,
    encoder: Optional[str] = None,
    weights: Optional[str] = None,
    image_size: Optional[int] = None,
    balanced: bool = True,
    finetune_epochs: int = 0,
    seed: int = 0,
    store_dir: Optional[str] = None,
    num_workers: int = 2,
    command: str = '',
) -> Assignments:
    """Cluster a folder of images and write what was found; shows progress.

    Args:
        folder (str | Path): Images at any depth.
        out (str | Path): Where results go; it is new or holds those of an earlier call.
        num_clusters (int | str, optional): K, or ``auto``; None with ``model`` or ``names``.
        model (str | Path, optional): Of an earlier call: assigns, without training.
        names (str | Path, optional): What a report saved: only the tables in ``out`` are changed.
        folders (str, optional): ``link`` or ``copy`` makes a folder of images for each cluster.
        parquet (bool): Whether to write ``assignments.parquet`` too. Defaults to False.
        encoder (str, optional): As the rest of the network, see :class:`ImageClusterer`. Defaults
            to ``lite2``; a model has its own.
        weights (str, optional): A file that fills it.
        image_size (int, optional): Pixels that it sees.
        balanced (bool): False where kinds of images differ much in number. Defaults to True.
        finetune_epochs (int): Epochs in which the network learns, too. Defaults to 0.
        seed (int): Of all that is drawn. Defaults to 0.
        store_dir (str, optional): Where rows are kept.
        num_workers (int): Processes that read images. Defaults to 2.
        command (str): What was typed, for the report.

    Returns:
        Assignments: The table.

    Raises:
        FileNotFoundError: If there is no such folder, or no image in it.
        RunError: If ``out`` holds something else or cannot be written.
        ValueError: If there are fewer images than clusters, a value is out of range, another run
            writes into ``out``, or a network is named for a model, which has its own.
    """
    folder, out = Path(folder), Path(out)
    if names is None:
        if model is not None and (encoder, weights, image_size, balanced, finetune_epochs) != (
            None, None, None, True, 0,
        ):  # fmt: skip
            raise ValueError(
                f'the model {model} sees images by its own network and size, and has its clusters: '
                'leave out encoder, weights, image size, unbalanced and finetuning'
            )
        folder = as_folder(folder)
        _claim(out, folder)
    else:
        for name in (_TABLE, _MARK, _PROBABILITIES):
            if not (out / name).is_file():
                raise FileNotFoundError(
                    f'{out} holds no {name} of an earlier call that names could go to'
                )
    if parquet and find_spec('pyarrow') is None:
        raise RunError(
            'writing Parquet needs pyarrow, which is not installed: pip install pyarrow, or leave '
            'out --parquet'
        )
    with holding(out, '--out'), told_once():
        if names is not None:
            return _rename(folder, out, names, folders, parquet)
        start = time.monotonic()
        if model is not None:
            clusterer = ImageClusterer.load(model, verbose=True)
        else:
            encoder = encoder or DEFAULT_ENCODER
            find_encoder(encoder, weights)  # a mistyped one is told at once
        with warnings_only():
            seen = survey(folder)
        for line in seen.lines():
            say(line)
        tell_unreadable(path for path, broken in zip(seen.paths, seen.broken) if broken)
        if model is None:
            clusterer = ImageClusterer(
                num_clusters,
                encoder=encoder,
                weights=weights,
                image_size=image_size,
                balanced=balanced,
                finetune_epochs=finetune_epochs,
                random_state=seed,
                store_dir=store_dir,
                num_workers=num_workers,
                verbose=True,
            )
            clusterer.image_size = _image_size(clusterer, seen)
            _check_count(num_clusters, seen)
            say(estimate_seconds(clusterer, folder))
            clusterer.fit(folder)
        else:
            clusterer.num_workers = num_workers
            clusterer.store_dir = store_dir or clusterer.store_dir
            clusterer.assign(folder)
        # Tables and page belong together: until all are written there is nothing to give names to.
        _mark(out)
        table = assignments_of(clusterer, _duplicates(clusterer.paths_, folder, seen))
        table.write_csv(out / _TABLE)
        _write_array(out / _PROBABILITIES, clusterer.probabilities_)
        if parquet:
            table.write_parquet(out / 'assignments.parquet')
        if model is None:
            clusterer.save(out / _MODEL)
        taken = str(timedelta(seconds=round(time.monotonic() - start)))
        lost = sorted(set(seen.paths).difference(clusterer.items_))
        write_page(
            clusterer,
            out / _PAGE,
            table,
            title=f'{folder.resolve().name}: {table.num_clusters} clusters',
            summary=[('Folder', str(folder)), ('Looked like', seen.lines()[0]), ('Took', taken)],
            warnings=[unreadable(lost)] if lost else [],
            recipe=f'{command}\n\nNames from this page: {_named(folder, out)}',
        )
        if folders:
            say(f'{link_clusters(table, folder, out, folders).folder}: a folder for each cluster')
        _tell(clusterer, table, out, time.monotonic() - start)
        return table


def _rename(
    folder: Path, out: Path, names: Union[str, Path], folders: Optional[str], parquet: bool
) -> Assignments:
    num_clusters = read_json(out / _MARK).get('num_clusters')
    if not isinstance(num_clusters, int):
        raise RunError(f'the last run into {out} did not end: cluster the folder again')
    table = read_csv(out / _TABLE, num_clusters)
    try:
        probabilities = np.load(out / _PROBABILITIES, mmap_mode='r', allow_pickle=False)
        table = apply_names(table, names, probabilities)
    except (OSError, ValueError) as error:
        raise RunError(
            f'{out / _PROBABILITIES} is damaged: cluster the folder again ({error})'
        ) from error
    table.write_csv(out / _TABLE)
    if parquet or (out / 'assignments.parquet').is_file():
        table.write_parquet(out / 'assignments.parquet')
    if folders:
        link_clusters(table, folder, out, folders)
    kept = len({name for name in table.names if name})
    say(f'{out / _TABLE}: {kept} clusters by the names of {names}')
    return table


def _claim(out: Path, folder: Path) -> None:
    """Make the folder for results, or refuse one that holds something else."""
    if folder.resolve() in (out.resolve(), *out.resolve().parents):
        raise ValueError(f'{out} lies in the folder of the images: write the results elsewhere')
    if out.exists() and not out.is_dir():
        raise RunError(f'{out} is a file: name a folder for the results')
    if out.is_dir() and any(out.iterdir()) and not (out / _MARK).is_file():
        raise RunError(f'{out} holds something else: name a new folder for the results')
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f'{out} cannot be made: {error.strerror}') from error
    if not (out / _MARK).is_file():
        _mark(out)


def _mark(out: Path, **about) -> None:
    write_atomically(out / _MARK, json.dumps(dict(format=_FORMAT, **about)))


def _write_array(path: Path, values: np.ndarray) -> None:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    write_atomically(path, file.getvalue())


def _image_size(clusterer: ImageClusterer, seen: Survey) -> Optional[int]:
    if clusterer.image_size is not None:
        return clusterer.image_size
    return clusterer.named_encoder.image_size or size_for(seen.short_edge)


def _check_count(num_clusters: Union[int, str], seen: Survey) -> None:
    good = int((~seen.broken).sum())
    if good == 0:
        raise ValueError(f'none of the {len(seen.paths)} images can be read')
    distinct = good - int((seen.duplicate_of >= 0).sum())
    least = 4 if num_clusters == 'auto' else num_clusters
    if distinct < least:
        copies = ' that are no copies of others' if distinct < good else ''
        wanted = 'choosing a number' if num_clusters == 'auto' else f'{num_clusters} clusters'
        raise ValueError(f'{distinct} images{copies} are too few for {wanted}')


def _duplicates(paths: List[str], folder: Path, seen: Survey) -> np.ndarray:
    """Of the images that were read, the index of the first of the same bytes, or -1."""
    index_of = {path: i for i, path in enumerate(paths)}
    names = [str(Path(path).relative_to(folder)) for path in seen.paths]
    found, leader = np.full(len(paths), -1), {}
    for name, first in zip(names, seen.duplicate_of, strict=True):
        own = index_of.get(name)
        if own is None or first < 0:
            continue
        # The first may be one that could not be read; then the next takes its place.
        root = leader.setdefault(first, index_of.get(names[first], own))
        if root != own:
            found[own] = root
    return found


def _tell(clusterer: ImageClusterer, table: Assignments, out: Path, seconds: float) -> None:
    choice = clusterer.num_clusters_
    if choice is not None:
        span = '' if choice.low == choice.high else f' (between {choice.low} and {choice.high})'
        say(f'{choice.best} clusters{span}: {SURENESS[choice.sureness]}')
    sizes = table.sizes
    say(f'{len(table):,} images in {len(sizes)} clusters of {sizes.min():,} to {sizes.max():,}')
    sure = clusterer.sureness_
    if 'head_agreement' in sure:
        say(
            f'how sure: heads agree by {sure["head_agreement"]:.2f} (1 is fully), linear '
            f'consistency {sure["linear_cv"]:.0f} % (the report explains them)'
        )
    for line in find_warnings(clusterer, table):
        say(f'note: {line}')
    _mark(out, num_clusters=table.num_clusters, seconds=round(seconds, 1))
    say(f'took {timedelta(seconds=round(seconds))}; features are kept in {_store(clusterer)}')
    print(f'{out / _PAGE}\n{out / _TABLE}')


def _named(folder: Union[str, Path], out: Path) -> str:
    return shlex.join(['cluster.py', str(folder), '--out', str(out), '--names', 'names.json'])


def _store(clusterer: ImageClusterer) -> str:
    return str(clusterer.store_dir or default_store_dir())
