"""Data that cannot be clustered as asked are refused before training, with one line."""

import numpy as np
import pytest
from helpers import CONFIG, SMALL
from PIL import Image

LITE0 = 'configs/folder/scan_lite0.py'
FOLDER = ('epochs=1', 'num_workers=0', 'image_size=32', 'num_neighbors=3')


def refused(call, config, work_dir, options, capfd):
    """The line with which training is refused."""
    with pytest.raises(SystemExit) as stopped:
        call('train', config, '--work-dir', work_dir, options=options)
    text = str(stopped.value).splitlines()
    assert text[0].startswith('error: ') and len(text) == 2
    assert 'epoch 1' not in capfd.readouterr().out and not list(work_dir.rglob('*.pth'))
    return text[0]


@pytest.mark.parametrize('config', [CONFIG, 'configs/cdc_digits_recluster.py'])
def test_more_clusters_than_images(tmp_path, call, config, capfd):
    options = (
        *SMALL[1:],
        'train_dataloader.batch_size=10',
        'num_clusters=21',
        'train_dataloader.dataset.indices=20',
    )
    told = refused(call, config, tmp_path / 'work', options, capfd)
    assert '20 images cannot be clustered into num_clusters=21: lower it' in told


def folder(tmp_path, images):
    """The options for as many images, of five kinds."""
    (tmp_path / 'images').mkdir()
    for i in range(images):
        pixels = np.random.RandomState(i % 5).randint(256, size=(8, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(pixels).resize((40, 40))
        picture.save(tmp_path / 'images' / f'{i}.png')
    return (*FOLDER, f'data_root={tmp_path}/images', f'store_dir={tmp_path}/store')


@pytest.mark.parametrize(
    ('images', 'options', 'message'),
    [
        (12, ['num_clusters=20'], '12 images cannot be clustered into num_clusters=20: lower it'),
        (
            12,
            ['num_clusters=6'],
            'the 12 images have only 5 different rows of features, which cannot be clustered into '
            'num_clusters=6: lower it, or leave out copies',
        ),
        (
            5,
            ['num_clusters=2', 'num_neighbors=5'],
            'num_neighbors=5, and each of the 5 images has 4 others: lower num_neighbors',
        ),
    ],
)
def test_rows(tmp_path, call, images, options, message, capfd):
    options = (*folder(tmp_path, images), *options)
    assert message in refused(call, LITE0, tmp_path / 'work', options, capfd)


def test_as_many_clusters_as_kinds_of_images_are_trained(tmp_path, call):
    options = (*folder(tmp_path, 12), 'num_clusters=5', 'num_heads=2')
    call('train', LITE0, '--work-dir', tmp_path / 'work', options=options)
    assert (tmp_path / 'work' / 'epoch_1.pth').is_file()
