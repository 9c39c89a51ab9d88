"""The page of a clustered folder: whole, bounded, and nothing of others in it is run."""

import base64
import dataclasses
import hashlib
import html.parser
import io
import json
import os
import re

import numpy as np
import pytest
from folder_results import random_assignments, thumbnail
from PIL import Image

from cdc_mm.evaluation.functional.choose_k import NumClusters
from cdc_mm.folders import write_report
from cdc_mm.folders.selection import least_certain, most_typical, nearest_misses

HOSTILE = [
    '<script>alert(1)</script>.png',
    '</script><img src=x onerror=alert(1)>.png',
    '"><svg onload=alert(1)>.png',
    "' onmouseover='alert(1).png",
    '{{ 7 * 7 }}.png',
    '<!--<script>.png',
    os.fsdecode(b'a\xff.png'),
    'line\u2028break\u202e.png',
]
CHOICE = NumClusters(
    best=4, low=3, high=5, sureness='range', num_rows=90,
    picks=dict(agreement=3, silhouette=4, bic=5),
    curves=dict(
        num_clusters=[2, 3, 4, 5], agreement=[0.5, 0.9, 0.8, 0.7], agreement_std=[0.1] * 4,
        silhouette=[0.1, 0.2, 0.3, 0.2], bic=[9.0, 8.0, 7.0, 6.5], bic_of_one=[10.0],
    ),
)  # fmt: skip
NONE = CHOICE._replace(sureness='none')


class Reader(html.parser.HTMLParser):
    """Tags with their attributes, texts, and the scripts by type."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts, self.scripts, self._script = [], [], {}, None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._script = dict(attrs).get('type', '') if tag == 'script' else None

    def handle_data(self, data):
        if self._script is not None:
            self.scripts[self._script] = self.scripts.get(self._script, '') + data
        else:
            self.texts.append(data)

    def handle_endtag(self, tag):
        self._script = None

    @property
    def data(self):
        return json.loads(self.scripts['application/json'])


def write(path, images, **change):
    values = dict(
        xy=np.random.RandomState(0).randn(len(images), 2),
        thumbnail=thumbnail,
        title='Photographs',
        summary=[('Images', len(images)), ('Encoder', 'Lite0')],
        sureness=dict(agreement=0.81, linear_cv=0.92, silhouette=-0.25),
        warnings=['two broken files'],
        curves=dict(loss=[3.0, 2.0, float('nan'), 1.0], one=[1.0], none=[]),
        num_clusters=CHOICE,
        recipe='num_clusters = 4',
    )
    done = write_report(path, images, **{**values, **change})
    assert done.num_bytes == path.stat().st_size
    return Reader(path.read_text('utf-8')), done


def unpack(text, dtype):
    return np.frombuffer(base64.b64decode(text), dtype)


def test_the_data_of_the_page_are_those_of_the_images(tmp_path):
    images = random_assignments(60, 4, duplicates=3, near=2)
    page, done = write(tmp_path / 'x.html', images)
    data = page.data
    assert (done.num_thumbnails, done.num_points) == (60, 60)
    assert data['paths'] == images.paths and data['names'] == ['0', '1', '2', '3']
    assert data['report'] == images.report_id
    np.testing.assert_array_equal(unpack(data['cluster'], '<i4'), images.cluster)
    np.testing.assert_array_equal(unpack(data['second'], '<i4'), images.second)
    for name in ('confidence', 'second_confidence'):
        found = unpack(data[name], '<u2') / 65535
        np.testing.assert_allclose(found, getattr(images, name), atol=1e-5)
    np.testing.assert_allclose(unpack(data['stability'], 'u1') / 100, images.stability, atol=0.005)
    flags = unpack(data['flags'], 'u1')
    np.testing.assert_array_equal(flags & 1, images.outlier)
    np.testing.assert_array_equal(flags >> 1 & 1, images.duplicate_of >= 0)
    np.testing.assert_array_equal(flags >> 2, images.near_duplicate_of >= 0)
    assert data['copies'] == [[0, 55, 56, 57, 58, 59]]
    assert {'copies', 'copies-title'} <= {attrs.get('id') for _, attrs in page.tags}
    for k, lists in enumerate(data['cards']):
        assert lists == [
            most_typical(images, 12)[k].tolist(),
            least_certain(images, 6)[k].tolist(),
            nearest_misses(images, 6)[k].tolist(),
        ]


def test_places_on_the_map_keep_their_shape(tmp_path):
    images = random_assignments(50, 3)
    xy = np.random.RandomState(0).randn(50, 2) * [3, 1] + 7
    data = write(tmp_path / 'x.html', images, xy=xy)[0].data
    found = np.stack([unpack(data['x'], '<u2'), unpack(data['y'], '<u2')], axis=1) / 65535
    scale = np.ptp(found[:, 0]) / np.ptp(xy[:, 0])
    np.testing.assert_allclose(found - found[0], (xy - xy[0]) * scale, atol=1e-4)


def test_every_picture_is_that_of_its_image_and_there_once(tmp_path):
    asked = []

    def count(index):
        asked.append(index)
        return thumbnail(index)

    images = random_assignments(60, 4)
    data = write(tmp_path / 'x.html', images, thumbnail=count)[0].data
    assert sorted(asked) == list(range(60))
    assert len(set(data['thumbs'])) == len(data['thumbs']) == 60
    for index, place in enumerate(unpack(data['thumb'], '<i4')):
        picture = Image.open(io.BytesIO(base64.b64decode(data['thumbs'][place])))
        assert Image.MIME[picture.format] == data['media_type']
        difference = np.asarray(picture.convert('RGB'), int) - np.asarray(thumbnail(index), int)
        assert np.abs(difference).mean() < 12


@pytest.mark.parametrize('error', [OSError, SyntaxError, Image.DecompressionBombError])
def test_images_that_cannot_be_read_have_no_picture(tmp_path, error):
    def broken(index):
        if index % 2:
            raise error('gone')
        return thumbnail(index)

    data = write(tmp_path / 'x.html', random_assignments(60, 4), thumbnail=broken)[0].data
    place = unpack(data['thumb'], '<i4')
    assert (place[1::2] == -1).all() and (place[::2] >= 0).all()


@pytest.mark.parametrize(
    'count, num_clusters, max_bytes',
    [(100, 12, 20_000_000), (100, 12, 300_000), (5000, 1000, 3_000_000), (100_000, 20, 1_500_000)],
)
def test_the_file_is_bounded(tmp_path, count, num_clusters, max_bytes):
    pictures = [thumbnail(i) for i in range(16)]
    images = random_assignments(count, num_clusters)
    page, done = write(
        tmp_path / 'x.html', images, max_bytes=max_bytes, thumbnail=lambda i: pictures[i % 16]
    )
    assert done.num_bytes <= max_bytes
    data = page.data
    assert len(data['cards']) == num_clusters
    # All room is used, but the clusters come first: each has its most typical image.
    place = unpack(data['thumb'], '<i4')
    filled = [lists[0] for lists in data['cards'] if lists[0]]
    assert all(place[typical[0]] >= 0 for typical in filled)
    assert done.num_thumbnails == count if max_bytes == 20_000_000 else done.num_thumbnails > 50
    points = unpack(data['x'], '<u2')
    assert len(points) == done.num_points == min(count, 20_000, done.num_points)
    text = re.sub(r'\s+', ' ', ''.join(page.texts))
    if done.num_points < count:
        assert f'{done.num_points:,} of {count:,} images, an even part of each cluster' in text
        shares = np.bincount(unpack(data['cluster'], '<i4')[: len(points)], minlength=num_clusters)
        np.testing.assert_allclose(
            shares / done.num_points, images.sizes / count, atol=2 / done.num_points
        )
    else:
        assert f'All {count:,} images' in text


def test_the_bound_holds_whatever_is_long(tmp_path):
    images = dataclasses.replace(
        random_assignments(3000, 5), paths=[f'{i}/' + 'x' * 3000 for i in range(3000)]
    )
    change = dict(
        warnings=['w' * 5000] * 100_000,
        curves=dict(loss=list(range(100_000))),
        recipe='r' * 10_000_000,
        max_bytes=1_500_000,
    )
    page, done = write(tmp_path / 'x.html', images, **change)
    assert done.num_bytes <= 1_500_000
    assert 'and 99900 more' in ''.join(page.texts)
    assert max(map(len, page.data['paths'])) <= 161
    assert page.data['paths'][0].startswith('0/x') or page.data['paths'][0].endswith('x')
    with pytest.raises(ValueError, match='too few'):
        write(tmp_path / 'x.html', images, max_bytes=20_000)


def test_nothing_of_others_is_run(tmp_path):
    images = random_assignments(len(HOSTILE), 3)
    names = ['</script><script>alert(2)</script>', '"><b onclick=alert(2)>', "'{{ 7*7 }}"]
    images = dataclasses.replace(images, paths=HOSTILE, names=names)
    bad = '<img src=x onerror=alert(3)>'
    page, _ = write(
        tmp_path / 'x.html', images, title=bad, summary=[(bad, bad)], warnings=[bad],
        curves={bad: [1.0, 2.0]}, recipe=f'</pre>{bad}',
    )  # fmt: skip
    plain, _ = write(tmp_path / 'y.html', random_assignments(len(HOSTILE), 3))
    kinds = {tag for tag, _ in plain.tags}
    assert {tag for tag, _ in page.tags} == kinds and 'img' not in kinds
    assert [tag for tag, _ in page.tags].count('script') == 2
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith('on')]
        for name in ('src', 'href'):
            assert attributes.get(name, '#').startswith(('#', 'data:,'))
    assert page.data['names'] == names
    shown = [name.encode('utf-8', 'replace').decode() for name in HOSTILE]
    assert page.data['paths'] == shown
    assert page.scripts[''] == plain.scripts['']
    texts = ''.join(page.texts)
    assert texts.count(bad) >= 5 and names[0] in texts and '{{ 7*7 }}' in texts


def test_nothing_is_loaded(tmp_path):
    page, _ = write(tmp_path / 'x.html', random_assignments(30, 3))
    [policy] = [
        a['content']
        for tag, a in page.tags
        if tag == 'meta' and a.get('http-equiv') == 'Content-Security-Policy'
    ]
    digest = base64.b64encode(hashlib.sha256(page.scripts[''].encode()).digest()).decode()
    assert policy == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    text = (tmp_path / 'x.html').read_text('utf-8')
    assert not re.search(r'https?:|url\(|@import|innerHTML|outerHTML|insertAdjacent|eval\(', text)


def test_the_sections_come_in_their_order(tmp_path):
    page, _ = write(tmp_path / 'x.html', random_assignments(30, 3))
    sections = [a['id'] for tag, a in page.tags if tag == 'section']
    assert sections == [
        'summary', 'sure', 'warnings', 'clusters', 'sizes', 'map-section', 'curves', 'choice',
        'recipe',
    ]  # fmt: skip
    texts = ' '.join(page.texts)
    for text in ('Lite0', '0.81', '0.92', '\u22120.25', 'two broken files', 'num_clusters = 4'):
        assert text in texts
    assert 'Best guess 4, between 3 and 5: the criteria differ' in texts
    none = write(tmp_path / 'y.html', random_assignments(30, 3), num_clusters=NONE)[0]
    assert 'No answer: no clusters that k-means finds twice' in ' '.join(none.texts)
    identifiers = [a['id'] for _, a in page.tags if 'id' in a]
    assert len(identifiers) == len(set(identifiers))
    for _, attributes in page.tags:
        if attributes.get('href', '').startswith('#'):
            assert attributes['href'][1:] in identifiers


def test_what_is_not_known_is_left_out(tmp_path):
    images = dataclasses.replace(random_assignments(30, 3), stability=np.full(30, np.nan))
    page, done = write(
        tmp_path / 'x.html', images, xy=None, sureness={}, warnings=[], curves={},
        num_clusters=None,
    )  # fmt: skip
    sections = [a['id'] for tag, a in page.tags if tag == 'section']
    assert sections == ['summary', 'sure', 'warnings', 'clusters', 'sizes', 'recipe']
    assert 'None.' in ''.join(page.texts) and 'stability' not in ''.join(page.texts)
    assert done.num_points == 0 and 0 < done.num_thumbnails <= 30


def test_stability_is_the_mean_over_the_images_or_as_given(tmp_path):
    images = random_assignments(200, 3)
    texts = ''.join(write(tmp_path / 'x.html', images)[0].texts)
    for k in range(3):
        assert f'{images.stability[images.cluster == k].mean():.2f}' in texts
    sureness = dict(cluster_stability=np.array([0.11, 0.57, 0.33]))
    page, _ = write(tmp_path / 'x.html', images, sureness=sureness)
    order = [text for text in page.texts if text in ('0.11', '0.57', '0.33')]
    assert order[:3] == ['0.11', '0.33', '0.57'] and 'Jaccard' in ''.join(page.texts)


@pytest.mark.parametrize('count, num_clusters', [(1, 1), (2, 2), (3, 9)])
def test_few_images_and_empty_clusters(tmp_path, count, num_clusters):
    page, done = write(tmp_path / 'x.html', random_assignments(count, num_clusters))
    assert done.num_thumbnails == count
    assert [tag for tag, _ in page.tags].count('article') == num_clusters


def test_curves_are_the_values(tmp_path):
    curves = dict(loss=[4.0, 2.0, float('nan'), 0.0, 1.0], flat=[5.0, 5.0], one=[1.0], none=[])
    page, _ = write(tmp_path / 'x.html', random_assignments(9, 2), curves=curves, num_clusters=None)
    lines = [a['points'] for tag, a in page.tags if tag == 'polyline']
    # 100 wide; the largest value at 2, the least at 38.
    assert lines == ['0.0,2.0 25.0,20.0', '75.0,38.0 100.0,29.0', '0.0,20.0 100.0,20.0',
                     '50.0,20.0 50.0,20.0']  # fmt: skip


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(xy=np.zeros((29, 2))), r'xy must be \(30, 2\)'),
        (dict(xy=np.full((30, 2), np.nan)), 'not finite'),
        (dict(sureness=dict(acc=1.0)), r"\['acc'\] is not known"),
        (dict(sureness=dict(cluster_stability=[1.0])), 'must have 3 values'),
    ],
)
def test_what_does_not_belong_to_the_images_is_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        write(tmp_path / 'x.html', random_assignments(30, 3), **change)
    assert not list(tmp_path.iterdir())
