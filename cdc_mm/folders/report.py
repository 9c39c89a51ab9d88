"""The page that shows what was found in a folder: one HTML file that needs nothing else."""

import base64
import hashlib
import json
import math
from itertools import chain
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from cdc_mm.atomic import write_atomically
from cdc_mm.evaluation.functional.choose_k import SURENESS, NumClusters

from .assignments import MAX_NAME, NAMES_FORMAT, Assignments
from .selection import groups_of_copies, least_certain, most_typical, nearest_misses, spread
from .thumbnails import Thumbnails

#: Colours that the style knows; more clusters share them.
NUM_COLORS = 20
_HERE = Path(__file__).parent
_MAP_POINTS = 20_000
_MAP_SHARE = 0.35  # of the bytes
# Pictures of the cards by how many there may be of each cluster: pixels of their side; most
# typical, least certain, nearest misses.
_PLANS = (
    (128, (12, 6, 6)),
    (96, (12, 6, 6)),
    (96, (6, 6, 6)),
    (80, (6, 3, 3)),
    (64, (4, 2, 2)),
    (48, (2, 1, 1)),
    (48, (1, 0, 0)),
)
_CARD_THUMBNAILS = 4000
_COPIES = (12, 6)  # groups of images that hardly differ, and pictures of each
_CARD_SHARE = 0.7  # of what is left for pictures
_MAP_THUMBNAILS, _MAP_SIDE = 2000, 96
_MEASURED = 24  # pictures, to guess what all will need
_PATH, _TEXT, _LINES = 160, 500, 100  # characters of a path and a text that are shown, warnings
_CURVE_POINTS = 300

#: What the figures of ``sureness`` mean: title, least value, and how to read it.
MEASURES = dict(
    agreement=(
        'Agreement of the heads',
        0,
        'Adjusted Rand index between heads that were trained side by side: 1 if all found the same '
        'clusters, about 0 if they agree no more than by chance.',
    ),
    linear_cv=(
        'Linear consistency',
        0,
        'How often a linear classifier finds the cluster of images it was not shown, mean over the '
        'clusters: near 1 they are simple in the features, small and blurred clusters lower it.',
    ),
    silhouette=(
        'Silhouette',
        -1,
        'How much nearer images are to their own cluster than to the next, from \u22121 to 1; '
        'above 0 is right. Compare it only between runs of the same encoder.',
    ),
)


class Written(NamedTuple):
    """What :func:`write_report` wrote.

    Attributes:
        num_bytes (int): Of the file.
        num_thumbnails (int): Pictures in it.
        num_points (int): Images on the map.
    """

    num_bytes: int
    num_thumbnails: int
    num_points: int


def write_report(
    path: Union[str, Path],
    assignments: Assignments,
    *,
    xy: Optional[np.ndarray],
    thumbnail: Callable[[int], Image.Image],
    title: str,
    summary: Sequence[Tuple[str, Any]],
    sureness: Mapping[str, Any],
    warnings: Sequence[str],
    curves: Mapping[str, Sequence[float]],
    num_clusters: Optional[NumClusters],
    recipe: str,
    max_bytes: int = 20_000_000,
) -> Written:
    """Write the page of a clustered folder: what was found, how sure it is, and images of it.

    One file that works from disk, without a network, on a phone and by keyboard; it may neither
    send nor load anything (its Content-Security-Policy). On it a person renames, merges and drops
    clusters and saves that as a file for :func:`~cdc_mm.folders.apply_names`. All text is
    escaped; long paths are cut in the middle.

    Args:
        path (str | Path): The .html file. It is the old or the whole new one.
        assignments (Assignments): N images, K clusters.
        xy (np.ndarray, optional): Places on the map, shape (N, 2), finite; None for no map. Of more
            images than 20,000, or than there is room for, an even part of each cluster is shown.
        thumbnail (Callable): Gives the picture of an image, a :class:`PIL.Image.Image` of 128
            pixels or a little more, by its index; called once for each that is shown, at most
            some 6,000 times. Where it raises an error the image has no picture.
        title (str): Of the page.
        summary (Sequence): Pairs of a label and a value.
        sureness (Mapping): Figures by their names in :data:`MEASURES`, each optional; besides
            ``cluster_stability``, shape (K,), in [0, 1]. Without that the stability of a cluster
            is the mean over its images.
        warnings (Sequence[str]): A line each.
        curves (Mapping): Lists of figures by name, such as losses by epoch.
        num_clusters (NumClusters, optional): What numbers of clusters were looked at.
        recipe (str): How to make it again: a config or a command.
        max_bytes (int): The file is not larger; pictures become fewer and smaller with more
            clusters. Defaults to 20,000,000.

    Returns:
        Written: Bytes, pictures, and images on the map.

    Raises:
        ValueError: If xy or sureness are not what is said here, or max_bytes is too few even
            without a picture.
        RunError: If the file cannot be written.
    """
    _check(assignments, xy, sureness)
    shown = _MapPart(assignments, xy, max_bytes)
    copies = groups_of_copies(assignments, _COPIES[0])
    style, script = ((_HERE / name).read_text('utf-8') for name in ('report.css', 'report.js'))
    values = dict(
        title=_shown(title, _TEXT),
        report_id=assignments.report_id,
        summary=[(_shown(label, _TEXT), _shown(value, _TEXT)) for label, value in summary],
        measures=_measures(sureness),
        warnings=[_shown(line, _TEXT) for line in warnings[:_LINES]],
        more_warnings=max(len(warnings) - _LINES, 0),
        clusters=_clusters(assignments, sureness),
        num_images=len(assignments),
        num_points=len(shown.points),
        has_map=xy is not None,
        num_copies=int((assignments.duplicate_of >= 0).sum()),
        num_near=int((assignments.near_duplicate_of >= 0).sum()),
        copies=[dict(size=len(group), more=len(group) - _COPIES[1]) for group in copies],
        curves=[_curve(_shown(name, _TEXT), ys) for name, ys in curves.items()],
        choice=None if num_clusters is None else _choice(num_clusters),
        recipe=_shown(recipe, 100_000),
        max_name=MAX_NAME,
        num_colors=NUM_COLORS,
        style=Markup(style),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )

    def render(counts: Sequence[int], thumbnails: Optional[Thumbnails]) -> str:
        return _template().render(
            data=_data(assignments, shown, copies, counts, thumbnails), **values
        )

    bare = len(_encode(render((0, 0, 0), None)))
    if bare > max_bytes:
        raise ValueError(f'max_bytes {max_bytes} are too few: {bare} are needed without a picture')
    thumbnails = Thumbnails(thumbnail)
    side, counts = _plan(assignments, thumbnails, max_bytes - bare)
    # What the images of the cards need besides their pictures.
    room = max_bytes - len(_encode(render(counts, None)))
    if room < 0:
        counts, room = (0, 0, 0), max_bytes - bare
    thumbnails.add(_by_rank(_card_lists(assignments, counts)), side, room)
    thumbnails.add([i for group in copies for i in group[: _COPIES[1]]], side, room)
    if xy is not None:
        few = shown.points[spread(assignments.cluster[shown.points], _MAP_THUMBNAILS)]
        thumbnails.add(few, min(side, _MAP_SIDE), room)
    content = _encode(render(counts, thumbnails))
    assert len(content) <= max_bytes, (len(content), max_bytes)
    write_atomically(path, content)
    return Written(len(content), len(thumbnails.texts), len(shown.points))


class _MapPart:
    """The images on the map: their indices and places in [0, 65535]."""

    def __init__(self, assignments: Assignments, xy: Optional[np.ndarray], max_bytes: int) -> None:
        self.points = np.zeros(0, np.int64)
        self.places = np.zeros((0, 2), np.uint16)
        if xy is None or not len(xy):
            return
        # Some 40 bytes of figures each, and the path.
        sample = assignments.paths[:: max(len(assignments) // 1000, 1)]
        each = 45 + float(np.mean([len(json.dumps(_shown(path, _PATH))) for path in sample]))
        room = int(_MAP_SHARE * max_bytes / each)
        self.points = spread(assignments.cluster, min(_MAP_POINTS, room))
        xy = np.asarray(xy, np.float64)[self.points]
        if not len(xy):
            return
        low, high = xy.min(axis=0), xy.max(axis=0)
        # One scale for both, so that distances stay what they are.
        scale = max((high - low).max(), 1e-12)
        centred = (xy - (low + high) / 2) / scale + 0.5
        self.places = (centred * 65535).round().astype(np.uint16)


def _check(assignments: Assignments, xy: Optional[np.ndarray], sureness: Mapping) -> None:
    if xy is not None and np.shape(xy) != (len(assignments), 2):
        raise ValueError(f'xy must be ({len(assignments)}, 2), got {np.shape(xy)}')
    if xy is not None and not np.isfinite(xy).all():
        raise ValueError('xy has places that are not finite')
    unknown = set(sureness) - {*MEASURES, 'cluster_stability'}
    if unknown:
        raise ValueError(f'sureness of {sorted(unknown)} is not known, only {list(MEASURES)}')
    stability = sureness.get('cluster_stability')
    if stability is not None and np.shape(stability) != (assignments.num_clusters,):
        raise ValueError(
            f'cluster_stability must have {assignments.num_clusters} values, '
            f'got {np.shape(stability)}'
        )


def _template():
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template('report.html.jinja')


def _encode(page: str) -> bytes:
    return page.encode('utf-8')


def _shown(text: Any, limit: int) -> str:
    """Text that is UTF-8 and not too long, its end kept."""
    text = str(text)
    if len(text) > limit:
        text = f'{text[: limit // 2]}\u2026{text[-(limit // 2) :]}'
    return text.encode('utf-8', 'replace').decode('utf-8').replace('\0', '\ufffd')


def _number(value: float, digits: int = 2) -> Optional[str]:
    return None if math.isnan(value) else f'{value:.{digits}f}'.replace('-', '\u2212')


def _mean(values: np.ndarray) -> float:
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else math.nan


def _clusters(assignments: Assignments, sureness: Mapping) -> Dict[str, Any]:
    """Facts of the clusters by number, and the orders that they are listed in."""
    sizes = assignments.sizes
    members = np.split(np.argsort(assignments.cluster, kind='stable'), np.cumsum(sizes)[:-1])
    stability = sureness.get('cluster_stability')
    if stability is None:
        stability = [_mean(assignments.stability[index]) for index in members]
    stability = np.asarray(stability, np.float64)
    facts = [
        dict(
            number=k,
            name=_shown(assignments.names[k], MAX_NAME) or str(k),
            size=int(sizes[k]),
            share=f'{100 * sizes[k] / max(len(assignments), 1):.1f} %',
            size_percent=round(100 * sizes[k] / max(sizes.max(), 1), 2),
            stability=_number(stability[k]),
            stability_percent=round(100 * float(np.nan_to_num(stability[k])), 2),
            confidence=_number(_mean(assignments.confidence[index])),
        )
        for k, index in enumerate(members)
    ]
    known = [k for k in range(len(facts)) if facts[k]['stability'] is not None]
    return dict(
        facts=facts,
        by_size=[facts[k] for k in np.argsort(-sizes, kind='stable')],
        by_stability=[facts[k] for k in sorted(known, key=lambda k: (stability[k], k))],
        jaccard=sureness.get('cluster_stability') is not None,
    )


def _measures(sureness: Mapping) -> List[dict]:
    found = []
    for key, (title, low, how) in MEASURES.items():
        value = sureness.get(key)
        if value is None or math.isnan(value):
            continue
        percent = 100 * min(max((value - low) / (1 - low), 0), 1)
        figures = dict(value=_number(value), low=low, percent=round(percent, 2))
        found.append(dict(title=title, how=how, **figures))
    return found


def _curve(name: str, ys: Sequence[float], xs: Optional[Sequence[float]] = None, **more) -> dict:
    """A small picture of a curve, 100 wide and 40 high; values that are not finite are gaps."""
    ys = np.asarray(ys, np.float64)
    xs = np.arange(1, len(ys) + 1) if xs is None else np.asarray(xs, np.float64)
    if len(ys) > _CURVE_POINTS:
        chosen = np.linspace(0, len(ys) - 1, _CURVE_POINTS).round().astype(int)
        xs, ys = xs[chosen], ys[chosen]
    finite = np.isfinite(ys)
    known = ys[finite]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)

    def across(x: float) -> float:
        return 50.0 if xs[-1] == xs[0] else round(float(100 * (x - xs[0]) / (xs[-1] - xs[0])), 2)

    def down(y: float) -> float:
        return 20.0 if high == low else round(float(38 - 36 * (y - low) / (high - low)), 2)

    runs, run = [], []
    for x, y, there in zip(xs, ys, finite):
        if there:
            run.append(f'{across(x)},{down(y)}')
        elif run:
            runs, run = [*runs, run], []
    runs = [*runs, run] if run else runs
    return dict(
        name=name,
        # A point alone is drawn as a line to itself, with round ends.
        lines=[' '.join(run if len(run) > 1 else run * 2) for run in runs],
        low=f'{low:.4g}',
        high=f'{high:.4g}',
        last=f'{known[-1]:.4g}' if len(known) else 'none',
        first_x=f'{xs[0]:g}' if len(xs) else '',
        last_x=f'{xs[-1]:g}' if len(xs) else '',
        **{key: across(x) for key, x in more.items()},
    )


def _choice(found: NumClusters) -> dict:
    titles = dict(
        agreement='Agreement of k-means runs',
        silhouette='Silhouette',
        bic='BIC of a mixture (less is better)',
    )
    ks = found.curves['num_clusters']
    band = dict(band_low=found.low, band_high=found.high)
    answer = f'Best guess {found.best}'
    if found.low != found.high:
        answer += f', between {found.low} and {found.high}'
    if found.sureness == 'none':
        answer = 'No answer'
    return dict(
        answer=f'{answer}: {SURENESS[found.sureness]}.',
        num_rows=found.num_rows,
        curves=[
            dict(_curve(titles[key], found.curves[key], ks, pick=pick, **band), picked=pick)
            for key, pick in found.picks.items()
        ],
    )


def _card_lists(assignments: Assignments, counts: Sequence[int]) -> List[List[np.ndarray]]:
    """For each cluster three lists of indices."""
    selections = (most_typical, least_certain, nearest_misses)
    return [
        list(lists)
        for lists in zip(*(select(assignments, n) for select, n in zip(selections, counts)))
    ]


def _by_rank(cards: List[List[np.ndarray]]) -> List[int]:
    """The images of all cards, first the first ones of every cluster."""
    ranked = [
        (rank, kind, int(index))
        for lists in cards
        for kind, indices in enumerate(lists)
        for rank, index in enumerate(indices)
    ]
    return [index for *_, index in sorted(ranked, key=lambda entry: entry[:2])]


def _plan(assignments: Assignments, thumbnails: Thumbnails, room: int) -> tuple:
    """The most and largest pictures that there is room for."""
    sample = spread(np.zeros(len(assignments), int), min(_MEASURED, len(assignments)))
    each = thumbnails.measure(sample, sorted({side for side, _ in _PLANS}))
    for side, counts in _PLANS:
        number = assignments.num_clusters * sum(counts)
        # Besides the picture there are a path and some figures.
        if number <= _CARD_THUMBNAILS and number * (each[side] + 150) <= _CARD_SHARE * room:
            return side, counts
    return _PLANS[-1]


def _data(
    assignments: Assignments,
    shown: _MapPart,
    copies: List[np.ndarray],
    counts: Sequence[int],
    thumbnails: Optional[Thumbnails],
) -> dict:
    """What the script of the page reads. Images have new numbers, those of the map come first."""
    cards = _card_lists(assignments, counts)
    on_cards = [index for lists in cards for indices in lists for index in indices.tolist()]
    alike = [group[: _COPIES[1]].tolist() for group in copies]
    images = list(dict.fromkeys([*shown.points.tolist(), *on_cards, *chain(*alike)]))
    number = {index: i for i, index in enumerate(images)}
    index = np.array(images, np.int64)
    place = {} if thumbnails is None else thumbnails.place
    stability = np.nan_to_num(assignments.stability[index] * 100, nan=255)
    flags = assignments.outlier[index] + 2 * (assignments.duplicate_of[index] >= 0)
    flags += 4 * (assignments.near_duplicate_of[index] >= 0)
    return dict(
        format=NAMES_FORMAT,
        report=assignments.report_id,
        names=[_shown(name, MAX_NAME) for name in assignments.names],
        counts=[int(n) for n in counts],
        cards=[[[number[i] for i in indices.tolist()] for indices in lists] for lists in cards],
        copies=[[number[i] for i in group] for group in alike],
        paths=[_shown(assignments.paths[i], _PATH) for i in images],
        cluster=_packed(assignments.cluster[index], '<i4'),
        confidence=_packed(assignments.confidence[index].clip(0, 1) * 65535, '<u2'),
        second=_packed(assignments.second[index], '<i4'),
        second_confidence=_packed(assignments.second_confidence[index].clip(0, 1) * 65535, '<u2'),
        stability=_packed(stability, 'u1'),
        flags=_packed(flags, 'u1'),
        thumb=_packed(np.array([place.get(i, -1) for i in images]), '<i4'),
        x=_packed(shown.places[:, 0], '<u2'),
        y=_packed(shown.places[:, 1], '<u2'),
        media_type=Thumbnails.media_type,
        thumbs=[] if thumbnails is None else thumbnails.texts,
    )


def _packed(values: np.ndarray, dtype: str) -> str:
    return base64.b64encode(np.round(values).astype(dtype).tobytes()).decode()
