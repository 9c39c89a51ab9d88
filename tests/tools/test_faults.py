"""Faults that end a run, through the tools: one line says which and what to do."""

import generated
import pytest

FOLDER = 'configs/cdc_r18_cifar10_folder.py'


@pytest.fixture
def folder(tmp_path):
    """Options of a tiny training on generated images, and where these are."""
    root = generated.image_folder(tmp_path / 'data')
    options = [
        'model.backbone.stem_channels=4', 'model.backbone.base_channels=4',
        'model.neck.in_channels=32', 'model.queue_size=20', 'train_dataloader.batch_size=4',
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
    generated.image_folder(tmp_path / 'larger', size=40)
    (tmp_path / 'larger' / 'train' / 'a' / '0.jpg').rename(root / 'train' / 'a' / 'large.jpg')
    with pytest.raises(SystemExit, match='images of a batch differ in size: add a transform'):
        call('train', FOLDER, '--work-dir', tmp_path / 'work',
             options=[*options, 'train_dataloader.batch_size=9'])  # fmt: skip
