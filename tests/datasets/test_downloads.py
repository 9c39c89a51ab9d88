from urllib.error import HTTPError, URLError

import generated
import mmpretrain.datasets.cifar as cifar
import pytest
from mmpretrain.registry import DATASETS

ARCHIVES = dict(
    CIFAR10Files=('cifar-10-batches-py', 'data_batch_1', 'cifar-10-python.tar.gz'),
    CIFAR100Coarse=('cifar-100-python', 'train', 'cifar-100-python.tar.gz'),
)


def build(name, root):
    return DATASETS.build(dict(type=name, data_root=str(root)))


@pytest.mark.parametrize('name', ARCHIVES)
@pytest.mark.parametrize(
    ('error', 'reason'),
    [
        (URLError('no route to host'), 'no route to host'),
        (HTTPError('x', 403, 'Forbidden', None, None), 'Forbidden'),
        (TimeoutError('timed out'), 'timed out'),
        (RuntimeError('File not found or corrupted.'), 'corrupted'),
    ],
)
def test_says_where_to_get_the_data(name, error, reason, tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise error

    monkeypatch.setattr(cifar, 'download_and_extract_archive', offline)
    folder, file, archive = ARCHIVES[name]
    with pytest.raises(FileNotFoundError) as told:
        build(name, tmp_path)
    for part in (
        f'could not be downloaded ({reason}' if 'corrupted' not in reason else reason,
        f'{tmp_path}/{folder}/{{{file}',
        f'Unpack https://www.cs.toronto.edu/~kriz/{archive} in {tmp_path}',
    ):
        assert part in str(told.value)


def test_another_error_is_not_hidden(tmp_path, monkeypatch):
    root = generated.cifar10(tmp_path, monkeypatch)
    assert len(build('CIFAR10Files', root)) == 20

    def broken(*args, **kwargs):
        raise RuntimeError('something else')

    monkeypatch.setattr(cifar, 'get', broken)
    with pytest.raises(RuntimeError, match='something else'):
        build('CIFAR10Files', root)
