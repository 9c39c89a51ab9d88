"""Work dirs through the tools: what an earlier run saved, and one that is still running."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers import CONFIG, ROOT, SMALL, hold, log_of

from cdc_mm.checkpoints import newest_checkpoint, read_run
from cdc_mm.engine import work_dir as locks

QUICK = (*SMALL, 'train_dataloader.batch_size=700')


def epochs(number):
    return (*QUICK, f'train_cfg.max_epochs={number}')


@pytest.fixture
def used(trained, tmp_path):
    """A work dir with two epochs."""
    for path in trained[0].iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    return tmp_path


def files(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob('*.pth')}


def test_training_anew_where_checkpoints_lie_is_refused(used, call):
    before, run = files(used), read_run(used)
    assert len(before) == 2
    with pytest.raises(SystemExit) as stopped:
        call('train', CONFIG, '--work-dir', used, '--no-validate', options=epochs(1))
    text = str(stopped.value).splitlines()[0]
    assert f'{used} holds the checkpoints of another run (epoch_1.pth, epoch_2.pth)' in text
    for way in ('--resume', '--work-dir', '--overwrite'):
        assert way in text
    # Nor does a mistake lose them.
    with pytest.raises(SystemExit, match='Lower train_dataloader'):
        call('train', CONFIG, '--work-dir', used, '--overwrite',
             options=(*SMALL, 'train_dataloader.batch_size=2000'))  # fmt: skip
    assert files(used) == before and read_run(used) == run


def test_overwriting_removes_the_run_before(used, call, capsys):
    run = read_run(used)
    call('train', CONFIG, '--work-dir', used, '--no-validate', '--overwrite', options=epochs(1))
    assert f'{used}: removing epoch_1.pth, epoch_2.pth of the run before' in capsys.readouterr().out
    assert set(files(used)) == {'epoch_1.pth'}
    assert (used / 'last_checkpoint').read_text() == 'epoch_1.pth'
    assert read_run(used)['id'] != run['id']
    meta = torch.load(used / 'epoch_1.pth', weights_only=True)['meta']
    assert (meta['iter'], meta['run_id']) == (2, read_run(used)['id'])


def test_what_a_run_starts_from_is_not_overwritten(used, call):
    with pytest.raises(SystemExit, match=r'lies in the work dir .*--overwrite would clear'):
        call('train', CONFIG, '--work-dir', used, '--overwrite',
             options=(*epochs(1), f'load_from={used}/epoch_1.pth'))  # fmt: skip
    assert len(files(used)) == 2


def test_resuming_from_an_earlier_checkpoint_tells_of_the_later(used, call):
    args = ('train', CONFIG, '--work-dir', used, '--no-validate', '--resume', used / 'epoch_1.pth')
    options = (*SMALL, 'train_cfg.max_epochs=2')
    with pytest.raises(SystemExit, match=r'later checkpoints lie beside it \(epoch_2\.pth\)'):
        call(*args, options=options)
    before = files(used)
    call(*args, '--overwrite', options=options)
    after = files(used)
    assert after['epoch_1.pth'] == before['epoch_1.pth']
    assert after['epoch_2.pth'] != before['epoch_2.pth']


def test_a_copy_is_resumed_from_its_own_files(used, call, capsys):
    copy = used / 'copy'
    copy.mkdir()
    for path in used.iterdir():
        if path.is_file():
            shutil.copy(path, copy)
    (used / 'epoch_2.pth').rename(used / 'epoch_3.pth')
    call('train', CONFIG, '--work-dir', copy, '--no-validate', '--resume',
         options=(*SMALL, 'train_cfg.max_epochs=2'))  # fmt: skip
    assert f'{copy}/epoch_2.pth' in log_of(copy) and str(used / 'epoch') not in log_of(copy)
    assert newest_checkpoint(copy) == str(copy / 'epoch_2.pth')


def test_two_trainings_in_one_work_dir_are_refused(tmp_path, call):
    process = hold(tmp_path, 'fork')
    try:
        for flags in ([], ['--resume'], ['--overwrite']):
            with pytest.raises(
                SystemExit, match=rf'a training is running in {tmp_path}: process {process.pid} on'
            ):
                call('train', CONFIG, '--work-dir', tmp_path, *flags, options=epochs(1))
        assert {path.name for path in tmp_path.iterdir()} == {'.lock'}
        # The data workers of one that was killed live a moment longer, and lock nothing.
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        call('train', CONFIG, '--work-dir', tmp_path, '--no-validate', options=epochs(1))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    assert (tmp_path / 'epoch_1.pth').is_file()
    assert (tmp_path / '.lock').read_text().startswith(f'process {os.getpid()} on')


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch, call, capsys):
    def fail(*args):
        raise OSError(95, 'Operation not supported')

    monkeypatch.setattr(locks.fcntl, 'flock', fail)
    call('train', CONFIG, '--work-dir', tmp_path, '--no-validate', options=epochs(1))
    assert 'cannot be locked (Operation not supported)' in capsys.readouterr().out
    assert (tmp_path / 'epoch_1.pth').is_file()


def _alive(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')')[1].split()[0] != 'Z'
    except OSError:
        return False


def _children(pid):
    return [int(x) for x in Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]


@pytest.mark.skipif(sys.platform != 'linux', reason='looks into /proc')
@pytest.mark.parametrize('processes', [1, 2])
def test_what_run_seeds_started_ends_with_it(tmp_path, processes):
    command = [sys.executable, 'tools/run_seeds.py', CONFIG, '--seeds', '1', '--work-dir',
               tmp_path, '--gpus-per-run', processes, '--cfg-options', *SMALL,
               'train_cfg.max_epochs=100000']  # fmt: skip
    with (tmp_path / 'out').open('w') as out:
        process = subprocess.Popen(
            list(map(str, command)), cwd=ROOT, stdout=out, stderr=out,
            env={**os.environ, 'OMP_NUM_THREADS': '1'}, start_new_session=True,
        )  # fmt: skip
    run = tmp_path / 'cdc_digits/seed0'
    started = []
    try:
        deadline = time.monotonic() + 120
        while not (run / 'epoch_1.pth').is_file() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert process.poll() is None, (tmp_path / 'out').read_text()
        todo = [process.pid]
        while todo:
            children = _children(todo.pop())
            started += children
            todo += children
        assert len(started) >= (1 if processes == 1 else 3)
        process.kill()
        process.wait()
        deadline = time.monotonic() + 20
        while any(map(_alive, started)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not [pid for pid in started if _alive(pid)]
    finally:
        for pid in started:
            if _alive(pid):
                os.kill(pid, signal.SIGKILL)
        process.kill()


@pytest.mark.parametrize('kind', ['training', 'quickstart'])
def test_the_quickstart_overwrites_only_itself(tmp_path, call, kind):
    folder = tmp_path / 'cdc_digits'
    folder.mkdir()
    (folder / 'run.json').write_text(json.dumps(dict(id='x', kind=kind)))
    (folder / 'epoch_9.pth').touch()
    # Ends before the first iteration in any case: what was there stays.
    stop = ['default_hooks.checkpoint.filename_tmpl={x}']
    message = 'epoch_9.pth.*--overwrite' if kind == 'training' else 'could be saved: KeyError'
    with pytest.raises(SystemExit, match=message):
        call('quickstart', '--work-dir', tmp_path, options=stop)
    assert (folder / 'epoch_9.pth').exists()
