import sys
from types import SimpleNamespace

import pytest

from cdc_mm import console


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [100.0]
    monkeypatch.setattr(console.time, 'monotonic', lambda: now[0])
    return now


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(console, 'is_terminal', lambda: True)
    monkeypatch.setenv('COLUMNS', '60')


def walk(clock, steps, seconds):
    """Go through work of ``steps``, each of which takes ``seconds``."""
    for _ in console.track(range(steps), 'work'):
        clock[0] += seconds


def test_short_work_says_nothing(clock, capsys):
    walk(clock, 9, 1)
    assert capsys.readouterr().out == ''


def test_long_work_says_a_line_now_and_then(clock, capsys):
    walk(clock, 100, 1)
    lines = [line[10:] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        'work (10%, 0:01:30 left)',
        'work (40%, 0:01:00 left)',
        'work (70%, 0:00:30 left)',
    ]


def test_steps_that_are_long_are_told_each(clock, capsys):
    walk(clock, 4, 60)
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_what_was_done_before_does_not_count_as_time(clock, capsys):
    meter = console.Meter(total=100, done=90)
    clock[0] += 50
    meter.show(95, 'epoch 95/100', 'loss 1.5')
    assert capsys.readouterr().out[10:] == 'epoch 95/100 (95%, 0:00:50 left): loss 1.5\n'


def test_a_terminal_has_a_bar_below_the_lines(clock, terminal, capsys):
    meter = console.Meter(total=10)
    assert not meter.due
    clock[0] += 1
    assert meter.due
    meter.show(5, 'epoch 5/10', 'loss 1.5 ' + 'x' * 60)
    assert not meter.due
    bar = capsys.readouterr().out
    assert bar.startswith('\r\x1b[Kepoch 5/10 [#####-----] 0:00:01 left  loss 1.5 xxx')
    assert '\n' not in bar and len(bar) == len('\r\x1b[K') + 59  # or the line would break
    console.say('line')
    text = capsys.readouterr().out
    assert text.startswith('\r\x1b[K') and text.endswith('  line\n')
    console.wipe()
    assert capsys.readouterr().out == ''


def test_the_bar_goes_with_the_work(clock, terminal, capsys):
    walk(clock, 3, 1)
    assert capsys.readouterr().out.endswith('\r\x1b[K')


@pytest.mark.parametrize(('isatty', 'term', 'expected'), [
    (True, 'xterm', True), (True, 'dumb', False), (False, 'xterm', False),
])  # fmt: skip
def test_where_lines_can_be_redrawn(monkeypatch, isatty, term, expected):
    monkeypatch.setattr(sys, 'stdout', SimpleNamespace(isatty=lambda: isatty))
    monkeypatch.setenv('TERM', term)
    assert console.is_terminal() == expected


def test_lines_of_libraries_can_be_left_out(capsys):
    with console.without_lines('Loads'):
        print('Loads checkpoint')
        print('Loads more\n\nof them\n')
        print('Uploads checkpoint')
        console.say('Loads of fun')
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'Uploads checkpoint' and lines[1].endswith('Loads of fun')
    print('Loads')
    assert capsys.readouterr().out == 'Loads\n'
