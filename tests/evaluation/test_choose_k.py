"""The number of clusters: criteria against scikit-learn, the rule, and rows whose K is known."""

from itertools import combinations

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import normalize, scale

import cdc_mm.evaluation.functional.choose_k as choose_k
from cdc_mm.apis import choose_num_clusters


def blobs(num_clusters, count=600, dims=16, seed=0):
    rng = np.random.RandomState(seed)
    centres = 4 * rng.randn(num_clusters, dims)
    return centres[np.arange(count) % num_clusters] + rng.randn(count, dims)


@pytest.mark.parametrize('num_clusters', [3, 5])
def test_blobs_are_counted(num_clusters):
    found = choose_num_clusters(blobs(num_clusters), 2, 7)
    assert (found.best, found.low, found.high) == (num_clusters,) * 3
    assert found.sureness == 'agree'
    assert set(found.picks.values()) == {num_clusters}


def test_a_cloud_is_no_number_of_clusters():
    cloud = np.random.RandomState(0).rand(240, 16)
    assert choose_num_clusters(cloud, 2, 6).sureness == 'none'


def test_criteria_are_scikit_learns():
    rows = blobs(4, count=100) + 3 * np.random.RandomState(1).randn(100, 16)
    found = choose_num_clusters(rows, 2, 5, seed=3)
    rows = rows[np.random.RandomState(3).permutation(100)].astype(np.float32)
    pcs = PCA(16, random_state=3).fit_transform(normalize(scale(rows))).astype(float)
    draw = np.random.RandomState(3)
    chosen = [draw.permutation(100)[:80] for _ in range(8)]
    for i, k in enumerate(found.curves['num_clusters']):
        clusters = KMeans(k, n_init=5, random_state=3).fit_predict(pcs)
        expected = silhouette_score(pcs, clusters, metric='cosine')
        assert found.curves['silhouette'][i] == pytest.approx(expected, abs=1e-3)
        mixture = GaussianMixture(k, reg_covar=1e-3 * pcs.var(), max_iter=60, random_state=3)
        expected = mixture.fit(pcs).bic(pcs) / 100
        assert found.curves['bic'][i] == pytest.approx(expected, abs=0.05)
        runs = [
            dict(zip(part, KMeans(k, n_init=2, random_state=s).fit_predict(pcs[part])))
            for s, part in enumerate(chosen)
        ]
        scores = []
        for one, other in combinations(runs, 2):
            common = sorted(one.keys() & other.keys())
            scores.append(adjusted_rand_score(*([r[n] for n in common] for r in (one, other))))
        assert found.curves['agreement'][i] == pytest.approx(np.mean(scores), abs=0.02)
        assert found.curves['agreement_std'][i] == pytest.approx(np.std(scores), abs=0.02)


@pytest.mark.parametrize(
    ('agreement', 'silhouette', 'bic', 'of_one', 'expected'),
    [
        # K = 2, 3, 4, 5, 6
        ([0.9, 1.0, 0.5, 0.4, 0.3], [1, 3, 2, 1, 0], [4, 1, 2, 3, 4], 9, (3, 3, 3, 'agree')),
        ([1.0, 0.9, 0.96, 0.4, 0.3], [1, 3, 2, 1, 0], [4, 3, 2, 1, 4], 9, (4, 3, 5, 'range')),
        ([1.0, 0.9, 0.94, 0.4, 0.3], [1, 3, 2, 1, 0], [4, 1, 2, 1, 4], 9, (3, 2, 3, 'range')),
        ([0.6, 0.6, 0.6, 0.6, 0.9], [0, 1, 2, 3, 4], [4, 3, 2, 1, 0], 9, (6, 6, 6, 'edge')),
        ([0.9, 0.4, 0.3, 0.2, 0.1], [4, 3, 2, 1, 0], [0, 1, 2, 3, 4], 9, (2, 2, 2, 'agree')),
        ([0.1, 0.5, 0.1, 0.1, 0.1], [1, 3, 2, 1, 0], [4, 1, 2, 3, 4], 9, (3, 3, 3, 'none')),
        ([0.9, 1.0, 0.5, 0.4, 0.3], [1, 3, 2, 1, 0], [4, 1, 2, 3, 4], 1, (3, 3, 3, 'none')),
        ([-0.2, -0.1, -0.3, -0.3, -0.3], [1, 3, 2, 1, 0], [4, 1, 2, 3, 4], 9, (3, 3, 3, 'none')),
    ],
)
def test_the_rule(agreement, silhouette, bic, of_one, expected):
    decision = choose_k.decide(
        dict(num_clusters=[2, 3, 4, 5, 6], agreement=agreement, silhouette=silhouette, bic=bic,
             bic_of_one=[of_one])
    )  # fmt: skip
    assert decision[:4] == expected


def test_least_number_is_an_edge_only_above_two():
    curves = dict(num_clusters=[4, 5], agreement=[1, 0.5], silhouette=[1, 0], bic=[0, 1])
    assert choose_k.decide(dict(curves, bic_of_one=[9])).sureness == 'edge'


def test_more_rows_than_the_bound_are_drawn_from(monkeypatch):
    monkeypatch.setattr(choose_k, 'MAX_ROWS', 400)
    rows = blobs(3, 900)
    found = choose_num_clusters(rows, 2, 5)
    assert found.num_rows == 400 and found.best == 3
    again = choose_num_clusters(rows, 2, 5)
    assert again == found
    sample = choose_k.sample_rows(rows, 2, 5, seed=0)
    expected = rows[np.random.RandomState(0).permutation(900)[:400]]
    np.testing.assert_allclose(sample, expected, rtol=1e-6)


BAD = np.ones((10, 4))


@pytest.mark.parametrize(
    ('rows', 'span', 'message'),
    [
        (blobs(3), (5, 4), 'must go up and start at 2 or more, got 5 4'),
        (blobs(3), (1, 4), 'got 1 4'),
        (blobs(3, 20), (2, 11), 'up to 11 clusters are too many for 20 rows, 20 of them distinct: '
         'at most 10'),
        (BAD, (2, 3), '10 rows, 1 of them distinct: clusters need 4 or more'),
        (BAD[:1], (2, 3), '1 rows, 1 of them'),
        (BAD[0], (2, 3), r'rows must be \(images, two or more values\), got \(4,\)'),
        (BAD[:, :1], (2, 3), r'got \(10, 1\)'),
        (np.full((3, 4), 'x'), (2, 3), 'rows must be numbers'),
        (np.where(np.arange(40).reshape(10, 4) == 30, np.nan, BAD), (2, 3),
         'row 7 of 10 has a value that is not finite'),
    ],
)  # fmt: skip
def test_mistakes(rows, span, message, monkeypatch):
    monkeypatch.setattr(choose_k, '_principal_components', None)  # nothing is computed
    with pytest.raises(ValueError, match=message):
        choose_num_clusters(rows, *span)
