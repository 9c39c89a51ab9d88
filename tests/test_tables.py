import csv
import os
import resource
import statistics

import pytest

from cdc_mm.errors import RunError
from cdc_mm.tables import (
    escape_formula,
    markdown_table,
    mean_std,
    plus_minus,
    unescape_formula,
    write_csv,
)


def test_csv_reads_back(tmp_path):
    path = tmp_path / 'new' / 'x.csv'
    rows = [('a, "b".png', 3, 0.5), ('Gr\u00fc\u00dfe\n.png', '', '')]
    write_csv(path, ('image', 'cluster', 'confidence'), iter(rows))
    with path.open(newline='', encoding='utf-8') as file:
        assert list(csv.reader(file)) == [
            ['image', 'cluster', 'confidence'],
            ['a, "b".png', '3', '0.5'],
            ['Gr\u00fc\u00dfe\n.png', '', ''],
        ]


def test_csv_keeps_names_that_are_not_utf8(tmp_path):
    name = os.fsdecode(b'a\xff.png')
    write_csv(tmp_path / 'x.csv', ('image', 'cluster'), [(name, 1)])
    assert (tmp_path / 'x.csv').read_bytes() == b'image,cluster\r\na\xff.png,1\r\n'


def test_csv_is_whole_or_not_there(tmp_path):
    path = tmp_path / 'x.csv'
    write_csv(path, ('image',), [('old',)])

    def broken():
        yield ('new',)
        raise RuntimeError('a network that fails')

    with pytest.raises(RuntimeError, match='fails'):
        write_csv(path, ('image',), broken())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))
    try:
        with pytest.raises(RunError, match='could not write'):
            write_csv(path, ('image',), [('new',)] * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text().split() == ['image', 'old']
    assert os.listdir(tmp_path) == ['x.csv']


def test_markdown_is_aligned_and_keeps_bars_inside_their_cell():
    text = markdown_table(['', 'ACC'], [['k-means', '81.4 +- 0.5'], ['a|b', 1]])
    assert text.splitlines() == [
        '|         | ACC         |',
        '| ------- | ----------- |',
        '| k-means | 81.4 +- 0.5 |',
        '| a\\|b    | 1           |',
    ]
    with pytest.raises(ValueError, match='2 columns, but a row has 1 cells'):
        markdown_table(['a', 'b'], [['x']])


def test_deviation_is_that_of_a_sample():
    values = [50.0, 52.0, 57.0]
    assert mean_std(values) == f'53.0 +- {statistics.stdev(values):.1f}'
    assert mean_std(values) != f'53.0 +- {statistics.pstdev(values):.1f}'
    assert mean_std(values, digits=3) == '53.000 +- 3.606'


def test_one_value_has_no_deviation():
    assert mean_std([50.04]) == '50.0'
    assert plus_minus(50.04) == '50.0'
    assert plus_minus(1, 0.25, digits=2) == '1.00 +- 0.25'


@pytest.mark.parametrize('first', ['=', '+', '-', '@', '\t', '\r', '\n'])
def test_no_text_is_a_formula_and_each_comes_back(first):
    for text in (f'{first}1+1', first, f"'{first}1", f"''{first}"):
        assert escape_formula(text) == f"'{text}"
        assert unescape_formula(escape_formula(text)) == text
    for text in (f'a{first}1', "'a", "'", '', f' {first}'):
        assert escape_formula(text) == text
        assert unescape_formula(text) == text
