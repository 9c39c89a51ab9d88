"""Faults that end a run, through the tools: one line says which and what to do."""

import logging
import os
import re
import signal
import time

import generated
import pytest
import torch
from helpers import CONFIG, ROOT, SMALL, free_port, log_of, run_tool
from mmcv.transforms import BaseTransform
from mmpretrain.registry import TRANSFORMS
from PIL import Image

FOLDER = 'configs/cdc_r18_cifar10_folder.py'


@pytest.fixture
def folder(tmp_path):
    """Options of a tiny training on generated images, and where these are."""
    root = generated.image_folder(tmp_path / 'data')
    options = [
        'model.backbone.stem_channels=4', 'model.backbone.base_channels=4',
        'model.neck.in_channels=32', 'model.queue_size=20', 'train_dataloader.batch_size=4',
        'num_clusters=4',
        'train_dataloader.num_workers=1', 'val_dataloader.num_workers=0',
        'train_cfg.max_epochs=1', 'train_cfg.val_interval=1',
        *[f'{field}.dataset.data_root={root}'
          for field in ('train_dataloader', 'val_dataloader', 'test_dataloader')],
    ]  # fmt: skip
    return root, options


def test_faulty_images_are_skipped_counted_and_listed(folder, call, tmp_path, capfd):
    root, options = folder
    for part in ('train/a', 'test/b'):
        generated.faulty_files(root / part)
    call('train', FOLDER, '--work-dir', tmp_path / 'work',
         options=[*options, 'train_dataloader.batch_size=10'])  # fmt: skip
    text = capfd.readouterr().out
    assert '3 images could not be read and were left out' in text
    assert '6 images could not be read and were left out' in text
    assert '3 of 11 images could not be read and are left out of the metrics' in text
    (listed,) = (tmp_path / 'work').glob('*/faulty_images.txt')
    names = {line.split('\t')[0] for line in listed.read_text().splitlines()}
    assert names == {
        str(root / part / f'{name}.jpg')
        for part in ('train/a', 'test/b')
        for name in ('empty', 'text', 'cut')
    }


def test_a_faulty_image_in_a_worker_ends_the_run_with_one_line(folder, call, tmp_path):
    root, options = folder
    (root / 'train' / 'a' / 'text.jpg').write_text('not an image')
    with pytest.raises(SystemExit) as stopped:
        call('train', FOLDER, '--work-dir', tmp_path / 'work',
             options=[*options, 'train_dataloader.batch_size=9',
                      'train_dataloader.dataset.pipeline.0.on_error=raise'])  # fmt: skip
    first, second = str(stopped.value).splitlines()
    assert first.startswith(f'error: {root}/train/a/text.jpg cannot be read: it is no image')
    assert 'CDC_MM_TRACEBACK' in second


def test_images_of_different_sizes_end_the_run_with_one_line(folder, call, tmp_path):
    root, options = folder
    Image.new('RGB', (40, 20)).save(root / 'train' / 'a' / 'wide.jpg')
    with pytest.raises(SystemExit, match='images of a batch differ in size: add a transform'):
        call('train', FOLDER, '--work-dir', tmp_path / 'work',
             options=[*options, 'train_dataloader.batch_size=9',
                      'train_dataloader.dataset.pipeline.1.keep_ratio=True'])  # fmt: skip


def test_resume_passes_over_a_truncated_checkpoint(trained, tmp_path, call, capfd):
    work_dir, _ = trained
    for epoch in (1, 2):
        content = (work_dir / f'epoch_{epoch}.pth').read_bytes()
        (tmp_path / f'epoch_{epoch}.pth').write_bytes(content[: len(content) // epoch])
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    call('train', CONFIG, '--work-dir', tmp_path, '--resume', '--no-validate',
         options=(*SMALL, 'train_cfg.max_epochs=2'))  # fmt: skip
    text = capfd.readouterr().out
    assert f'Passed over: {tmp_path}/epoch_2.pth is damaged' in text
    assert 'goes on after epoch 1' in text and 'resumed epoch: 1, iter: 22' in log_of(tmp_path)
    assert torch.load(tmp_path / 'epoch_2.pth', weights_only=True)['meta']['iter'] == 44


def test_a_work_dir_that_cannot_be_written_to_is_refused_first(call, tmp_path):
    for work_dir in ('/proc/work', tmp_path / 'file' / 'work'):
        (tmp_path / 'file').touch()
        with pytest.raises(
            SystemExit, match=r'the work dir .*/work cannot be written to: .*--work'
        ):
            call('train', CONFIG, '--work-dir', work_dir, options=SMALL)


def test_a_disk_that_fills_up_ends_the_run_and_keeps_what_was_saved(call, tmp_path, monkeypatch):
    fsync = os.fsync

    def fill_up(file):
        if (tmp_path / 'last_checkpoint').exists():  # the first checkpoint and the note of it
            raise OSError(28, 'No space left on device')
        fsync(file)

    monkeypatch.setattr(os, 'fsync', fill_up)
    with pytest.raises(SystemExit, match=r'epoch_2\.pth .*: No space left on device.*--resume'):
        call('train', CONFIG, '--work-dir', tmp_path, '--no-validate',
             options=(*SMALL, 'train_cfg.max_epochs=3'))  # fmt: skip
    assert torch.load(tmp_path / 'epoch_1.pth', weights_only=True)['meta']['epoch'] == 1
    assert not list(tmp_path.glob('epoch_2*'))


def test_a_disk_that_fills_up_between_checkpoints_is_one_line(call, tmp_path, monkeypatch, capfd):
    """The figures of the visual backend, and the log, are written in every epoch."""
    from mmengine.visualization import LocalVisBackend

    dump, log = LocalVisBackend._dump, logging.FileHandler.emit

    def full(backend, value, path, file_format):
        if (tmp_path / 'last_checkpoint').exists():
            raise OSError(28, 'No space left on device')
        dump(backend, value, path, file_format)

    def full_log(handler, record):
        if (tmp_path / 'last_checkpoint').exists():
            handler.stream = open('/dev/full', 'w', buffering=1)  # noqa: SIM115
        log(handler, record)

    monkeypatch.setattr(LocalVisBackend, '_dump', full)
    monkeypatch.setattr(logging.FileHandler, 'emit', full_log)
    with pytest.raises(SystemExit) as stopped:
        call('train', CONFIG, '--work-dir', tmp_path, '--no-validate', options=(
            *SMALL, 'train_cfg.max_epochs=3', 'default_hooks.logger.interval=5'))  # fmt: skip
    text = str(stopped.value).splitlines()[0]
    assert text.startswith('error: could not write: No space left on device') and '--resume' in text
    assert 'Traceback' not in ''.join(capfd.readouterr())
    assert torch.load(tmp_path / 'epoch_1.pth', weights_only=True)['meta']['epoch'] == 1


@TRANSFORMS.register_module()
class KillDataWorker(BaseTransform):
    """Ends the data worker that it runs in, as the system does when memory is short."""

    def __init__(self, **kwargs):
        """Takes the arguments of the step whose place it has."""

    def transform(self, results):
        if torch.utils.data.get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return results  # the size of an image is looked at before training


def test_a_data_worker_that_is_killed_ends_the_run_with_its_reason(folder, call, tmp_path):
    _, options = folder
    start = time.monotonic()
    with pytest.raises(
        SystemExit, match=r'DataLoader worker.*(Killed|unexpectedly).*lower num_workers'
    ):
        call(
            'train',
            FOLDER,
            '--work-dir',
            tmp_path / 'work',
            options=[*options, 'train_dataloader.dataset.pipeline.1.type=KillDataWorker'],
        )
    assert time.monotonic() - start < 60


HANGER = """
import time
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS

@HOOKS.register_module()
class HangRank(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 3 and get_rank() == 1:
            time.sleep(1000)
"""


def test_a_rank_that_hangs_is_named(tmp_path):
    (tmp_path / 'hanger.py').write_text(HANGER)
    config = tmp_path / 'config.py'
    config.write_text(
        f"_base_ = '{ROOT / CONFIG}'\n"
        "custom_imports = dict(imports=['cdc_mm', 'hanger'], allow_failed_imports=False)\n"
        "custom_hooks = [dict(type='HangRank')]\n"
        'default_hooks = dict(rank_watch=dict(timeout=6))\n'
    )
    env = dict(PORT=str(free_port()), PYTHONPATH=str(tmp_path))
    start = time.monotonic()
    done = run_tool('tools/dist_train.sh', config, 2, '--work-dir', tmp_path / 'work',
                    '--cfg-options', *SMALL, check=False, env=env)  # fmt: skip
    assert time.monotonic() - start < 120 and done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert done.stderr.count('error: ') == 1 and 'Traceback' not in done.stderr
    assert re.match(r'error: rank 1 on \S+ hangs at .*hanger\.py', line), line
    assert 'no rank has moved for 6 s (default_hooks.rank_watch.timeout)' in line


KILLER = """
import os, signal, time
from pathlib import Path
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS

@HOOKS.register_module()
class KillRank(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 3 and get_rank() == 1:
            Path(__file__).with_name('killed_at').write_text(str(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_rank_that_is_killed_ends_the_job_with_its_reason(tmp_path):
    (tmp_path / 'killer.py').write_text(KILLER)
    config = tmp_path / 'config.py'
    config.write_text(
        f"_base_ = '{ROOT / CONFIG}'\n"
        "custom_imports = dict(imports=['cdc_mm', 'killer'], allow_failed_imports=False)\n"
        "custom_hooks = [dict(type='KillRank')]\n"
    )
    env = dict(PORT=str(free_port()), PYTHONPATH=str(tmp_path))
    done = run_tool('tools/dist_train.sh', config, 2, '--work-dir', tmp_path / 'work',
                    '--cfg-options', *SMALL, check=False, env=env)  # fmt: skip
    assert time.time() - float((tmp_path / 'killed_at').read_text()) < 60
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert re.match(
        r'error: rank 1 \(process \d+\) was ended by signal 9 \(SIGKILL\), .*memory',
        done.stderr.splitlines()[-1],
    )
