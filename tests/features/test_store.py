import json
import os
import pickle
import signal
import time

import numpy as np
import pytest
from helpers import run_ranks

from cdc_mm.errors import RunError
from cdc_mm.features import FeatureStore, Rows
from cdc_mm.features import store as module


def ids_of(*numbers):
    return np.array([f'image {number:09}'.encode() for number in numbers], 'S16')


def rows_of(*numbers):
    return np.stack([np.full(3, number, np.float32) for number in numbers])


def open_store(tmp_path, **settings):
    return FeatureStore(tmp_path, 'x', settings)


def fill(store, numbers, unreadable=()):
    """What is missing of some images, two at a time."""
    ids = ids_of(*numbers)
    if len(store.missing(ids)) == 0:
        return 0
    with store.adding() as writer:
        missing = store.missing(ids)
        for i in range(0, len(missing), 2):
            batch = np.array(numbers)[missing[i : i + 2]]
            read = ~np.isin(batch, unreadable)
            rows = rows_of(*batch)[read]
            writer.add(ids_of(*batch[read]), rows, ids_of(*batch[~read]))
    return len(missing)


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(module, 'PART_IMAGES', 4)


def test_appends_what_is_new_and_gives_any_order(tmp_path, small_parts):
    store = open_store(tmp_path)
    assert fill(store, [5, 3, 1]) == 3
    rows, kept = store.rows(ids_of(5, 3, 1))
    assert isinstance(rows, np.memmap) and kept.tolist() == [0, 1, 2]
    assert np.array_equal(rows, rows_of(5, 3, 1))
    assert isinstance(store.rows(ids_of(3, 1))[0], np.memmap)

    store = open_store(tmp_path)
    assert fill(store, [1, 2, 3, 4, 5, 6, 7, 8]) == 5
    assert len(list(store.path.glob('part-*.npy'))) == 3
    numbers = [8, 5, 1, 2, 2, 7]
    rows, kept = open_store(tmp_path).rows(ids_of(*numbers))
    assert isinstance(rows, Rows) and kept.tolist() == list(range(6))
    expected = rows_of(*numbers)
    assert rows.shape == (6, 3) and rows.dtype == np.float32 and len(rows) == 6
    assert np.array_equal(rows, expected) and np.array_equal(np.asarray(rows, float), expected)
    index = np.array([[5, 0]])[0]
    for key in (0, -1, slice(1, 4), slice(None, None, -2), index, [1, 1], expected[:, 0] > 4,
                np.array([], int)):  # fmt: skip
        assert np.array_equal(rows[key], expected[key]), key
    with pytest.raises(IndexError):
        rows[6]


def test_other_settings_are_another_store(tmp_path):
    fill(open_store(tmp_path, checkpoint='a'), [1])
    assert len(open_store(tmp_path, checkpoint='b').missing(ids_of(1))) == 1
    assert len(FeatureStore(tmp_path, 'x', dict(checkpoint='a'), 'float16').missing(ids_of(1))) == 1
    assert len(open_store(tmp_path, checkpoint='a').missing(ids_of(1, 1))) == 0
    with pytest.raises(ValueError, match='float32 or float16, got int8'):
        FeatureStore(tmp_path, 'x', {}, 'int8')


def test_unreadable_images_are_remembered(tmp_path):
    assert fill(open_store(tmp_path), [1, 2, 3], unreadable=[2]) == 3
    store = open_store(tmp_path)
    assert fill(store, [1, 2, 3]) == 0
    rows, kept = store.rows(ids_of(1, 2, 3))
    assert kept.tolist() == [0, 2] and np.array_equal(rows, rows_of(1, 3))
    fill(store, [7], unreadable=[7])
    with pytest.raises(RunError, match='none of the images could be read'):
        open_store(tmp_path).rows(ids_of(7))


class Trap:
    def __reduce__(self):
        return os.mkdir, (Trap.folder,)


def _truncated(path):
    path.write_bytes(path.read_bytes()[:-1])


def _appended(path):
    path.write_bytes(path.read_bytes() + b'0000')


def _one_bit(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def _pickle(path):
    path.write_bytes(pickle.dumps(Trap()))


def _array_of_objects(path):
    with open(path, 'wb') as file:
        np.save(file, np.array([[Trap()] * 3] * 4), allow_pickle=True)


def _other_array(path):
    np.save(path, rows_of(9, 9, 9, 9))


def _other_dtype(path):
    np.save(path, np.load(path).astype(np.float64))


def _gone(path):
    path.unlink()


def _no_json(path):
    path.with_suffix('.json').write_text('{"shape": [4')


def _other_images(path):
    info = json.loads(path.with_suffix('.json').read_text())
    info['ids'] = info['ids'][:-32]
    path.with_suffix('.json').write_text(json.dumps(info))


@pytest.mark.parametrize(
    'damage',
    [_truncated, _appended, _one_bit, _pickle, _array_of_objects, _other_array, _other_dtype, _gone,
     _no_json, _other_images],
)  # fmt: skip
def test_a_part_that_is_not_what_was_written_is_made_anew(tmp_path, small_parts, damage, capsys):
    Trap.folder = str(tmp_path / 'trapped')
    numbers = list(range(8))
    store = open_store(tmp_path)
    fill(store, numbers)
    damage(store.path / 'part-0000.npy')
    store = open_store(tmp_path)
    assert f'{store.path}/part-0000.npy is left out' in capsys.readouterr().out
    assert store.missing(ids_of(*numbers)).tolist() == [0, 1, 2, 3]
    assert fill(store, numbers) == 4 and not capsys.readouterr().out
    assert np.array_equal(open_store(tmp_path).rows(ids_of(*numbers))[0], rows_of(*numbers))
    assert not (tmp_path / 'trapped').exists()


def test_an_error_leaves_whole_parts_only(tmp_path, small_parts):
    store = open_store(tmp_path)
    with pytest.raises(KeyboardInterrupt), store.adding() as writer:
        for number in range(6):
            writer.add(ids_of(number), rows_of(number), ids_of())
        raise KeyboardInterrupt
    assert not list(store.path.glob('*.tmp'))
    store = open_store(tmp_path)
    assert store.missing(ids_of(*range(6))).tolist() == [4, 5]


@pytest.mark.parametrize(('name', 'limit'), [('PART_BYTES', 48), ('PART_SECONDS', 0)])
def test_a_part_is_neither_large_nor_long_in_the_making(tmp_path, monkeypatch, name, limit):
    monkeypatch.setattr(module, name, limit)
    store = open_store(tmp_path)
    fill(store, list(range(8)))
    assert len(list(store.path.glob('part-*.npy'))) == (2 if limit else 4)
    assert np.array_equal(store.rows(ids_of(*range(8)))[0], rows_of(*range(8)))


def _fill_slowly(tmp_path):
    with open_store(tmp_path).adding() as writer:
        for number in range(1000):
            writer.add(ids_of(number), rows_of(number), ids_of())
            time.sleep(0.005)


def test_a_killed_run_goes_on_where_it_stopped(tmp_path, small_parts):
    store = open_store(tmp_path)
    pid = os.fork()
    if pid == 0:
        try:
            _fill_slowly(tmp_path)
        finally:
            os._exit(1)
    deadline = time.monotonic() + 20
    while len(list(store.path.glob('part-*.json'))) < 3 and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    store = open_store(tmp_path)
    lost = store.missing(ids_of(*range(20)))
    assert 0 < len(lost) <= 8
    fill(store, list(range(20)))
    assert np.array_equal(open_store(tmp_path).rows(ids_of(*range(20)))[0], rows_of(*range(20)))
    assert not list(store.path.glob('*.tmp'))


def test_of_two_jobs_the_second_waits_and_finds_the_rows(tmp_path, capfd):
    store = open_store(tmp_path)
    with store.adding() as writer:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = fill(open_store(tmp_path), [1, 2])  # how many it had to make
            finally:
                os._exit(code)
        deadline, seen = time.monotonic() + 20, ''
        while 'waiting' not in seen and time.monotonic() < deadline:
            seen += capfd.readouterr().out
            time.sleep(0.01)
        assert f'another process adds to {store.path}: waiting' in seen
        writer.add(ids_of(1, 2), rows_of(1, 2), ids_of())
    assert os.WEXITSTATUS(os.waitpid(pid, 0)[1]) == 0


def _fill_on_rank(rank, world_size, tmp_path):
    module.PART_IMAGES = 4
    numbers = list(range(19))
    store = open_store(tmp_path)
    ids = ids_of(*numbers)
    with store.adding() as writer:
        share = np.array_split(store.missing(ids), world_size)[rank]
        for number in share:
            writer.add(ids_of(number), rows_of(number), ids_of())
    return np.array(store.rows(ids)[0])


def test_ranks_write_parts_of_their_own_and_see_all(tmp_path):
    for rows in run_ranks(2, _fill_on_rank, tmp_path):
        assert np.array_equal(rows, rows_of(*range(19)))


@pytest.mark.parametrize(
    ('value', 'dtype', 'advice'),
    [(1e6, 'float16', 'use float32'), (np.nan, 'float32', 'diverged')],
)
def test_refuses_rows_that_are_not_finite(tmp_path, value, dtype, advice):
    store = FeatureStore(tmp_path, 'x', {}, dtype)
    with pytest.raises(RunError, match=advice), store.adding() as writer:
        writer.add(ids_of(1, 2), np.full((2, 3), value, np.float32), ids_of())


def test_a_full_disk_is_told_in_one_line(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, 'No space left on device')

    store = open_store(tmp_path)
    monkeypatch.setattr(os, 'fsync', full)
    monkeypatch.setattr('cdc_mm.atomic.os.fsync', lambda number: None)
    monkeypatch.setattr(module.ArrayWriter, 'append', full)
    with pytest.raises(RunError, match=f'write to {store.path}: No space left on device'):
        fill(store, [1])


def _fail_on_one_rank(rank, world_size, tmp_path, where, failing):
    def full(*args):
        raise OSError(28, 'No space left on device')

    store = open_store(tmp_path)
    if rank == failing and where in ('append', 'finish'):
        setattr(module.ArrayWriter, where, full)
    elif rank == failing and where == 'number':
        store._next_number = full
    elif rank == failing and where == 'lock':
        os.open = full
    elif rank == failing and where == 'open':
        store._open = full
    written = 0
    try:
        with store.adding() as writer:
            value = np.nan if where == 'nan' and rank == failing else 1.0
            for number in range(400):
                rows = np.full((1, 3), value, np.float32)
                writer.add(ids_of(1000 * rank + number), rows, ids_of())
                written += 1
                if where in ('append', 'nan') and rank != failing:
                    time.sleep(0.05)  # the others are slow: they are told in the midst of it
    except (OSError, RunError) as error:
        return type(error).__name__, str(error), written
    return None, None, written


@pytest.mark.parametrize(
    ('where', 'failing', 'message'),
    [
        ('append', 1, 'No space left on device'),
        ('nan', 0, 'the network diverged'),
        ('finish', 1, 'No space left on device'),
        ('number', 0, 'No space left on device'),
        ('lock', 0, 'No space left on device'),
        ('open', 1, 'No space left on device'),
    ],
)
def test_an_error_on_one_rank_ends_all_with_its_message(tmp_path, where, failing, message):
    fill(open_store(tmp_path), [9999])  # a part to open
    results = run_ranks(2, _fail_on_one_rank, tmp_path, where, failing)
    assert all(message in text for _, text, _ in results)
    assert results[1 - failing][0] == 'RunError'
    if where in ('append', 'nan'):
        assert results[failing][2] == 0 and results[1 - failing][2] < 200
    assert not list(open_store(tmp_path).path.glob('*.tmp'))
