"""Tables of clusters: read back whole, safe in a spreadsheet, renamed by a file."""

import csv
import dataclasses
import json
import os
import sys

import numpy as np
import pytest
from folder_results import random_assignments, random_probabilities

from cdc_mm.errors import RunError
from cdc_mm.folders import apply_names, read_csv, top_two
from cdc_mm.folders.assignments import merged_two

HOSTILE = [
    '=HYPERLINK("http://x","y").png',
    '+1.png',
    '-2.png',
    '@SUM(A1).png',
    '\tx.png',
    '\rx.png',
    "'=x.png",
    "''+x.png",
    "'plain.png",
    'a, "b".png',
    'two\nlines.png',
    os.fsdecode(b'a\xff.png'),
    'Grüße 日本.png',
    ' =x.png',
]


@pytest.fixture
def hostile():
    return dataclasses.replace(
        random_assignments(len(HOSTILE), 3, duplicates=3, near=2),
        paths=HOSTILE,
        names=['=cmd|x', 'a, "b"', '2'],
    )


def lines(path):
    with path.open(newline='', encoding='utf-8', errors='surrogateescape') as file:
        return list(csv.DictReader(file))


def test_a_table_reads_back(tmp_path, hostile):
    hostile.write_csv(tmp_path / 'x.csv')
    found = read_csv(tmp_path / 'x.csv', 3)
    for field in dataclasses.fields(hostile):
        before, after = getattr(hostile, field.name), getattr(found, field.name)
        if isinstance(before, np.ndarray):
            assert before.dtype == after.dtype
            np.testing.assert_allclose(after, before, atol=1e-6)
        else:
            assert after == before
    assert found.report_id == hostile.report_id
    first = lines(tmp_path / 'x.csv')[0]
    assert first['cluster'] == str(hostile.cluster[0])
    assert first['name'].lstrip("'") == hostile.names[hostile.cluster[0]]
    assert float(first['second_confidence']) == pytest.approx(
        hostile.second_confidence[0], abs=1e-6
    )


def test_no_cell_of_text_runs_as_a_formula(tmp_path, hostile):
    hostile.write_csv(tmp_path / 'x.csv')
    written = lines(tmp_path / 'x.csv')
    for line, path in zip(written, HOSTILE, strict=True):
        for column in ('image', 'name', 'duplicate_of', 'near_duplicate_of'):
            assert not line[column] or line[column][0] not in '=+-@\t\r\n'
        if path[0].isalpha() or path == "'plain.png":
            assert line['image'] == path
    assert {line['second'] for line in written} <= {'0', '1', '2'}


def test_numbers_are_not_escaped(tmp_path):
    one = random_assignments(5, 1)
    one.write_csv(tmp_path / 'x.csv')
    assert [line['second'] for line in lines(tmp_path / 'x.csv')] == ['-1'] * 5
    assert read_csv(tmp_path / 'x.csv', 1).second.tolist() == [-1] * 5


def test_what_is_not_known_is_empty(tmp_path):
    images = random_assignments(4, 2)
    nothing = np.full(4, np.nan)
    images = dataclasses.replace(images, stability=nothing, distance=nothing)
    images.write_csv(tmp_path / 'x.csv')
    assert {line['stability'] + line['distance'] for line in lines(tmp_path / 'x.csv')} == {''}
    assert np.isnan(read_csv(tmp_path / 'x.csv', 2).stability).all()


@pytest.mark.parametrize(
    'content',
    [
        'a,b\n1,2\n',
        '',
        'image,cluster,name,confidence,second,second_confidence,stability,distance,outlier,'
        'duplicate_of,near_duplicate_of\nx.png,one,1,1,0,0,,,False,,\n',
    ],
)
def test_what_is_no_table_is_refused(tmp_path, content):
    (tmp_path / 'x.csv').write_text(content)
    with pytest.raises(RunError, match=r'x\.csv is no table of clusters'):
        read_csv(tmp_path / 'x.csv', 2)


def test_parquet_without_its_package_says_which(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pyarrow', None)
    with pytest.raises(RunError, match='pip install pyarrow'):
        random_assignments(4, 2).write_parquet(tmp_path / 'x.parquet')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(paths=['a', 'b', 'b', 'c']), 'twice'),
        (dict(paths=['a', 'b', 'c', '']), 'empty'),
        (dict(paths=['a', 'b', 'c']), 'each of 3 images'),
        (dict(cluster=np.array([0, 1, 2, 0])), 'cluster must be in'),
        (dict(cluster=np.zeros(4)), 'cluster must be int64'),
        (dict(confidence=np.array([0.5, 1.2, 0.5, 0.5])), 'confidence must be in'),
        (dict(confidence=np.array([0.5, np.nan, 0.5, 0.5])), 'confidence must be in'),
        (dict(stability=np.array([0.5, np.nan, 2.0, 0.5])), 'stability must be in'),
        (dict(distance=np.array([0.5, np.nan, -2.0, 0.5])), 'distance must be in'),
        (dict(cluster=np.array([0, 0, 1, 1]), second=np.array([1, 0, 0, 0])), 'another cluster'),
        (dict(duplicate_of=np.array([-1, 1, -1, -1])), 'first equal'),
        (dict(duplicate_of=np.array([-1, 0, 1, -1])), 'first equal'),
        (dict(near_duplicate_of=np.array([-1, 0, 1, -1])), 'index of the first'),
        (
            dict(
                duplicate_of=np.array([-1, 0, -1, -1]), near_duplicate_of=np.array([-1, 0, -1, -1])
            ),
            'an image that equals another',
        ),
        (dict(second=np.array([-1, 1, 0, 1]), cluster=np.array([0, 0, 1, 0])), 'must be 0 where'),
        (dict(outlier=np.zeros(4, int)), 'outlier must be bool'),
        (dict(names=['x' * 201, 'y']), '200 characters'),
        (dict(names=[]), 'one for each cluster'),
    ],
)
def test_columns_that_cannot_be_are_refused(change, message):
    images = random_assignments(4, 2)
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(images, **change)


def test_columns_are_copies_that_cannot_be_written_to():
    cluster = np.array([0, 1, 0, 1])
    images = dataclasses.replace(
        random_assignments(4, 2), cluster=cluster, second=1 - cluster, names=None
    )
    cluster[:] = 1
    assert images.cluster.tolist() == [0, 1, 0, 1]
    assert images.names == ['0', '1']
    with pytest.raises(ValueError, match='read-only'):
        images.cluster[0] = 1


def test_top_two_against_sorting():
    probs = np.random.RandomState(0).dirichlet(np.ones(5), 40)
    cluster, confidence, second, second_confidence = top_two(probs)
    for row, *found in zip(probs, cluster, confidence, second, second_confidence):
        best = sorted(range(5), key=lambda k: -row[k])[:2]
        assert found == [best[0], row[best[0]], best[1], row[best[1]]]
    assert [column.tolist() for column in top_two(np.ones((2, 1)))] == [
        [0, 0],
        [1, 1],
        [-1, -1],
        [0, 0],
    ]


def names_file(path, images, **change):
    content = dict(
        format='cdc_mm names 1',
        report=images.report_id,
        num_clusters=images.num_clusters,
        names=['cats', ' dogs ', 'cats', None],
    )
    path.write_text(json.dumps({**content, **change}))
    return path


def test_names_of_a_person(tmp_path):
    images = random_assignments(40, 4)
    probs = random_probabilities(40, 4, np.random.RandomState(0))
    named = apply_names(images, names_file(tmp_path / 'names.json', images), probs)
    assert named.names == ['cats', 'dogs', 'cats', '']
    kinds = [(0, 2), (1,), (3,)]
    for i, row in enumerate(probs):
        sums = [row[list(kind)].sum() for kind in kinds]
        own = next(j for j, kind in enumerate(kinds) if images.cluster[i] in kind)
        assert named.confidence[i] == pytest.approx(sums.pop(own), abs=1e-12)
        other = kinds[:own] + kinds[own + 1 :]
        best = max(range(2), key=sums.__getitem__)
        assert named.second_confidence[i] == pytest.approx(sums[best], abs=1e-12)
        assert named.second[i] == max(other[best], key=row.__getitem__)
    assert (named.confidence[images.cluster != 1] > images.confidence[images.cluster != 1]).any()
    assert named.report_id == images.report_id
    named.write_csv(tmp_path / 'x.csv')
    expected = {'0': 'cats', '1': 'dogs', '2': 'cats', '3': ''}
    assert all(line['name'] == expected[line['cluster']] for line in lines(tmp_path / 'x.csv'))
    again = apply_names(
        named, names_file(tmp_path / 'names.json', images, names=['a', 'b'] * 2), probs
    )
    assert again.names == ['a', 'b', 'a', 'b']
    same = names_file(tmp_path / 'names.json', images, names=['a', 'b', 'c', 'd'])
    back = apply_names(again, same, probs)
    np.testing.assert_allclose(back.confidence, images.confidence)
    np.testing.assert_array_equal(back.second, images.second)
    with pytest.raises(ValueError, match=r'must be \(40, 4\)'):
        apply_names(images, same, probs[:, :3])
    one = apply_names(images, names_file(tmp_path / 'x.json', images, names=['a'] * 4), probs)
    np.testing.assert_allclose(one.confidence, 1)
    assert (one.second == -1).all() and not one.second_confidence.any()
    one.write_csv(tmp_path / 'x.csv')
    assert (read_csv(tmp_path / 'x.csv', 5).second == -1).all()


def test_sums_of_parts_are_those_of_all(monkeypatch):
    probs = random_probabilities(10, 4, np.random.RandomState(0))
    cluster, names = probs.argmax(axis=1), ['a', 'b', 'a', '']
    whole = merged_two(probs, cluster, names)
    monkeypatch.setattr('cdc_mm.folders.assignments._ROWS', 3)
    for one, two in zip(whole, merged_two(probs, cluster, names), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(format='x'), 'no file of names'),
        (dict(extra=1), "unknown or missing: 'extra'"),
        (dict(num_clusters=3), 'there are 4'),
        (dict(names=['a'] * 3), 'names 3 clusters, but there are 4'),
        (dict(names='abcd'), 'there are 4'),
        (dict(report='0' * 16), 'is of report'),
        (dict(names=['a', 'b', 'c', ' ']), 'name of cluster 3'),
        (dict(names=['a', 'b', 3, 'd']), 'name of cluster 2'),
        (dict(names=['a', 'b', 'c', 'x' * 201]), 'name of cluster 3'),
        (dict(names=['a', 'b', 'c', '\ud800']), 'name of cluster 3'),
    ],
)
def test_wrong_files_of_names_are_told_in_one_line(tmp_path, change, message):
    images = random_assignments(40, 4)
    with pytest.raises(RunError, match=message) as error:
        apply_names(images, names_file(tmp_path / 'names.json', images, **change), None)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('content', [b'', b'[1]', b'{"a"', b'\xff', b'null', b'[' * 100000])
def test_no_names_at_all(tmp_path, content):
    (tmp_path / 'names.json').write_bytes(content)
    with pytest.raises(RunError, match=r'names\.json is no'):
        apply_names(random_assignments(4, 2), tmp_path / 'names.json', None)
    with pytest.raises(RunError, match='cannot be read'):
        apply_names(random_assignments(4, 2), tmp_path / 'missing.json', None)
