import os
import resource
import signal
import time

import pytest
import torch
from mmengine.fileio import get_file_backend

from cdc_mm.checkpoints import AtomicBackend
from cdc_mm.errors import RunError


def test_is_found_by_name():
    assert type(get_file_backend(backend_args=dict(backend='atomic'))) is AtomicBackend


def test_writes_and_replaces(tmp_path):
    path = tmp_path / 'new' / 'x.pth'
    for content in (b'one', b'two'):
        AtomicBackend().put(content, path)
        assert path.read_bytes() == content
    AtomicBackend().put_text('\u56fe', str(path))
    assert path.read_text(encoding='utf-8') == '\u56fe'
    assert os.listdir(path.parent) == ['x.pth']


def write_for_ever(path):
    """Overwrite a checkpoint again and again; entry i holds i everywhere."""
    from io import BytesIO

    i = 0
    while True:
        i += 1
        with BytesIO() as file:
            torch.save(torch.full((100_000,), i), file)
            AtomicBackend().put(file.getvalue(), path)


def test_a_kill_at_any_moment_leaves_a_whole_file(tmp_path):
    path = tmp_path / 'x.pth'
    torch.save(torch.zeros(100_000, dtype=torch.long), path)
    unfinished = set()
    for trial in range(25):
        pid = os.fork()
        if pid == 0:
            try:
                write_for_ever(path)
            finally:
                os._exit(1)
        # Wait until it is at work, then a little longer each time.
        before, deadline = path.stat().st_ino, time.monotonic() + 20
        while path.stat().st_ino == before and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(trial * 2e-4)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        values = torch.load(path, weights_only=True)
        assert len(values) == 100_000 and values[0] == values[-1] > 0
        unfinished.add((tmp_path / 'x.pth.tmp').exists())
    assert True in unfinished  # else no kill fell into a write


@pytest.mark.parametrize('limit', [0, 1, 4096, 50_000, 99_999])
def test_a_failing_disk_leaves_the_old_file(tmp_path, limit):
    """The kernel refuses to write more than ``limit`` bytes, in the middle of the file."""
    path = tmp_path / 'x.pth'
    path.write_bytes(b'old')
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(RunError, match=r'could not write .*x\.pth \(0\.1 MB\).*--resume'):
            AtomicBackend().put(b'n' * 100_000, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['x.pth']


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / 'x.pth').mkdir()  # fails for any user, root included
    with pytest.raises(RunError, match=r'could not write .*x\.pth .*directory'):
        AtomicBackend().put(b'new', tmp_path / 'x.pth')
    assert os.listdir(tmp_path) == ['x.pth']
