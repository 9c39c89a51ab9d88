"""How many clusters there are in rows of features: three criteria, and how far they agree."""

import warnings
from itertools import combinations
from typing import Dict, List, NamedTuple, Tuple

import numpy as np

from cdc_mm.console import track

from .kmeans import unit_rows

MAX_ROWS = 5000  # that are looked at; more are drawn from
_SILHOUETTE_ROWS = 2000
_AGREEMENT_PCS, _BIC_PCS = 50, 20
_SUBSAMPLES, _SHARE = 8, 0.8
_AGREEMENT_OF_BEST = 0.95
_LEAST_AGREEMENT = 0.5

#: What each answer of :attr:`NumClusters.sureness` means.
SURENESS = dict(
    agree='three criteria agree',
    range='the criteria differ: take it for a range',
    edge='it is the end of the range that was looked at: widen it',
    none='no clusters that k-means finds twice: any number is as good as another',
)


class NumClusters(NamedTuple):
    """How many clusters there may be.

    Attributes:
        best (int): The median of ``picks``.
        low (int): The least of them.
        high (int): The largest of them.
        sureness (str): ``agree``, ``range``, ``edge`` or ``none``; see :func:`decide`.
        picks (dict): K by criterion: ``agreement``, ``silhouette``, ``bic``.
        curves (dict): ``num_clusters``, the K that were looked at, and the value of each criterion
            at each; besides ``agreement_std``, over the pairs of runs, and ``bic_of_one``, a list
            of one value: K = 1.
        num_rows (int): Rows that were looked at.
    """

    best: int
    low: int
    high: int
    sureness: str
    picks: Dict[str, int]
    curves: Dict[str, list]
    num_rows: int


def choose_num_clusters(rows: np.ndarray, low: int, high: int, seed: int = 0) -> NumClusters:
    """Say how many clusters there are in rows, without labels.

    The columns are standardised, the rows scaled to length 1 and rotated to their principal
    components (PCs). Of every K

    - agreement: 8 runs of k-means, each on 80 % of the rows drawn anew; the adjusted Rand index of
      two runs on the rows that they have in common, mean over all pairs (Ben-Hur et al., 2002);
    - silhouette: of k-means (5 restarts) on all rows, by cosine distance (Rousseeuw, 1987);
    - bic: of a Gaussian mixture with full covariances (Schwarz, 1978)

    on the first 50 PCs, that of the mixture on the first 20. :func:`decide` says what follows.
    Criteria, and what they see, were chosen on sets whose K is known; even where the three agree
    they may be wrong, mostly with too few clusters (docs/results.md). Below some 500 rows the BIC
    tends to too few, as a component has up to 231 parameters. The time
    grows with ``high``, not with the rows beyond 5,000: that many are drawn.

    Args:
        rows (np.ndarray): Shape (N, D), D at least 2; what gives an array for an index will do,
            such as a memory map.
        low (int): Least K, at least 2.
        high (int): Largest K, at most half as many as there are distinct rows.
        seed (int): Of all that is drawn. Defaults to 0.

    Returns:
        NumClusters: The answer, with the curves.

    Raises:
        ValueError: If the range is none or beyond the rows, or a value of the rows is not finite.
    """
    sample = sample_rows(rows, low, high, seed)
    pcs = _principal_components(sample, seed)
    subsamples = _subsamples(len(pcs), seed)
    distances = _cosine_distances(pcs[:_SILHOUETTE_ROWS])
    bic_pcs = pcs[:, :_BIC_PCS]
    ks = range(low, high + 1)
    found = {}
    with warnings.catch_warnings():
        # Fewer distinct rows in a subsample than clusters, and mixtures that are not done yet.
        warnings.filterwarnings('ignore', module='sklearn')
        bic_of_one = mixture_bic(bic_pcs, 1, seed)
        # A small one with a large one: they take longer the larger they are.
        for k in track(_alternating(ks), 'number of clusters'):
            agreement, deviation = subsample_agreement(pcs, k, subsamples)
            silhouette = _silhouette(pcs, distances, k, seed)
            found[k] = agreement, deviation, silhouette, mixture_bic(bic_pcs, k, seed)
    names = ('agreement', 'agreement_std', 'silhouette', 'bic')
    curves = dict(num_clusters=list(ks))
    curves.update(zip(names, map(list, zip(*(found[k] for k in ks)))))
    curves['bic_of_one'] = [bic_of_one]
    return NumClusters(**decide(curves)._asdict(), curves=curves, num_rows=len(sample))


class Decision(NamedTuple):
    """Attributes: see :class:`NumClusters`."""

    best: int
    low: int
    high: int
    sureness: str
    picks: Dict[str, int]


def decide(curves: Dict[str, list]) -> Decision:
    """What the criteria say together.

    Each picks a K: the largest whose agreement is at least 95 % of the best one; that of the best
    silhouette; that of the least BIC. The answer is their median, its range from the least to the
    largest. How sure it is:

    - ``none`` if the agreement is nowhere above 0.5, or a single Gaussian has the least BIC;
    - else ``edge`` if the answer is an end of what was looked at, K = 2 apart;
    - else ``agree`` if the three picks are the same;
    - else ``range``.

    Args:
        curves (dict): Lists of the same length by ``num_clusters`` (ascending), ``agreement``,
            ``silhouette`` and ``bic``; and ``bic_of_one``, a list of one.

    Returns:
        Decision: The answer.
    """
    ks = np.asarray(curves['num_clusters'])
    agreement = np.asarray(curves['agreement'])
    high_ones = np.flatnonzero(agreement >= _AGREEMENT_OF_BEST * agreement.max())
    # Without any agreement the best one may be below 0, and no share of it.
    last = high_ones[-1] if len(high_ones) else agreement.argmax()
    picks = dict(
        agreement=int(ks[last]),
        silhouette=int(ks[np.argmax(curves['silhouette'])]),
        bic=int(ks[np.argmin(curves['bic'])]),
    )
    low, best, high = sorted(picks.values())
    if agreement.max() <= _LEAST_AGREEMENT or curves['bic_of_one'][0] <= min(curves['bic']):
        sureness = 'none'
    elif len(ks) > 1 and (best == ks[-1] or best == ks[0] > 2):
        sureness = 'edge'
    else:
        sureness = 'agree' if low == high else 'range'
    return Decision(best, low, high, sureness, picks)


def check_num_clusters_range(low: int, high: int) -> None:
    """Refuse what is no range of numbers of clusters.

    Raises:
        ValueError: If it is reversed or starts below 2.
    """
    if not 2 <= low <= high:
        raise ValueError(
            f'the range of numbers of clusters must go up and start at 2 or more, got {low} {high}'
        )


def sample_rows(rows: np.ndarray, low: int, high: int, seed: int) -> np.ndarray:
    """Rows in the order that they are drawn in, at most :data:`MAX_ROWS`, float32; all are checked.

    Args:
        rows (np.ndarray): Shape (N, D).
        low (int): Least number of clusters.
        high (int): Largest number of clusters.
        seed (int): Of the draw.

    Raises:
        ValueError: See :func:`choose_num_clusters`.
    """
    check_num_clusters_range(low, high)
    if len(np.shape(rows)) != 2 or rows.shape[1] < 2:
        raise ValueError(f'rows must be (images, two or more values), got {np.shape(rows)}')
    count = len(rows)
    if not np.issubdtype(rows.dtype, np.number) or np.issubdtype(rows.dtype, np.complexfloating):
        raise ValueError(f'rows must be numbers, got {rows.dtype}')
    for begin in range(0, count, 4096):
        finite = np.isfinite(rows[begin : begin + 4096]).all(axis=1)
        if not finite.all():
            raise ValueError(
                f'row {begin + int(np.argmin(finite))} of {count} has a value that is not finite: '
                'leave it out, or make the rows anew'
            )
    order = np.random.RandomState(seed).permutation(count)[:MAX_ROWS]
    # Read in the order of the file.
    place = np.argsort(order)
    sample = np.empty((len(order), rows.shape[1]), np.float32)
    sample[place] = rows[order[place]]
    distinct = len(np.unique(sample, axis=0))
    if high > distinct // 2:
        most = max(distinct // 2, 1)
        looked_at = f'{count} rows' if count <= MAX_ROWS else f'{MAX_ROWS} of {count} rows'
        raise ValueError(
            f'up to {high} clusters are too many for {looked_at}, {distinct} of them distinct: '
            + (f'at most {most}, two rows a cluster' if most >= 2 else 'clusters need 4 or more')
        )
    return sample


def subsample_agreement(
    rows: np.ndarray, num_clusters: int, subsamples: List[np.ndarray]
) -> Tuple[float, float]:
    """How far runs of k-means on different parts of the rows agree.

    Args:
        rows (np.ndarray): Shape (N, D).
        num_clusters (int): K.
        subsamples (list): For each run the numbers of its rows, also its seed by the place here.

    Returns:
        tuple: Mean and standard deviation, over all pairs of runs, of the adjusted Rand index on
        the rows that both have.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score

    runs = np.full((len(subsamples), len(rows)), -1)
    for seed, (run, chosen) in enumerate(zip(runs, subsamples)):
        run[chosen] = KMeans(num_clusters, n_init=2, random_state=seed).fit_predict(rows[chosen])
    scores = []
    for one, other in combinations(runs, 2):
        common = (one >= 0) & (other >= 0)
        scores.append(adjusted_rand_score(one[common], other[common]))
    return float(np.mean(scores)), float(np.std(scores))


def mixture_bic(rows: np.ndarray, num_clusters: int, seed: int) -> float:
    """The BIC of a Gaussian mixture with full covariances; less is better.

    Args:
        rows (np.ndarray): Shape (N, D).
        num_clusters (int): K.
        seed (int): Of the start.

    Returns:
        float: The BIC over N, so that rows of different number compare.
    """
    from sklearn.mixture import GaussianMixture

    # A cluster of a few rows has no spread, and its density would have no bound.
    floor = 1e-3 * float(rows.var())
    mixture = GaussianMixture(num_clusters, reg_covar=floor, max_iter=60, random_state=seed)
    return float(mixture.fit(rows).bic(rows) / len(rows))


def _principal_components(sample: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.decomposition import PCA

    spread = sample.std(axis=0)
    # A column that never changes says nothing, and its rounding is not to be blown up.
    unit = unit_rows((sample - sample.mean(axis=0)) / np.where(spread > 0, spread, 1))
    count = min(_AGREEMENT_PCS, *unit.shape)
    return PCA(count, random_state=seed).fit_transform(unit).astype(np.float64)


def _subsamples(count: int, seed: int) -> List[np.ndarray]:
    random = np.random.RandomState(seed)
    return [random.permutation(count)[: int(_SHARE * count)] for _ in range(_SUBSAMPLES)]


def _cosine_distances(rows: np.ndarray) -> np.ndarray:
    from sklearn.metrics.pairwise import cosine_distances

    return cosine_distances(rows)


def _silhouette(pcs: np.ndarray, distances: np.ndarray, num_clusters: int, seed: int) -> float:
    """Of the first rows, whose distances there are, in clusters of all rows."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    clusters = KMeans(num_clusters, n_init=5, random_state=seed).fit_predict(pcs)[: len(distances)]
    if not 2 <= len(np.unique(clusters)) < len(clusters):
        return -1.0
    return float(silhouette_score(distances, clusters, metric='precomputed'))


def _alternating(ks: range) -> List[int]:
    half = (len(ks) + 1) // 2
    pairs = zip(ks[:half], reversed(ks))
    return list(dict.fromkeys(k for pair in pairs for k in pair))
