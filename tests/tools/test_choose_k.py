"""tools/choose_k.py on a file, a store and a checkpoint."""

import json

import numpy as np
import pytest
import torch
from helpers import CONFIG, ROOT, SMALL
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from PIL import Image

from cdc_mm.features import FeatureStore

NETWORK = SMALL[:4]


def blobs(count=600):
    rng = np.random.RandomState(0)
    return (4 * rng.randn(3, 16)[np.arange(count) % 3] + rng.randn(count, 16)).astype(np.float32)


def store_of(tmp_path, rows):
    store = FeatureStore(tmp_path, 'encoder', {})
    ids = np.array([b'%015d' % i for i in range(len(rows))], 'S16')
    for half in np.array_split(np.arange(len(rows)), 2):  # in two parts
        with store.adding() as writer:
            writer.add(ids[half], rows[half], ids[:0])
    return store.path


@pytest.mark.parametrize('kind', ['file', 'store'])
def test_rows_on_disk(kind, tmp_path, call, capsys):
    source = tmp_path / 'rows.npy'
    np.save(source, blobs())
    if kind == 'store':
        source = store_of(tmp_path, blobs())
    out = tmp_path / 'new' / 'out'
    call('choose_k', source, '--range', 2, 6, '--out', out, options=None)
    result = json.loads((out / 'choose_k.json').read_text())
    assert result['best'] == 3 and result['sureness'] == 'agree' and result['num_rows'] == 600
    assert result['curves']['num_clusters'] == [2, 3, 4, 5, 6]
    assert Image.open(out / 'choose_k.png').size[0] > 1000
    output = capsys.readouterr().out
    assert '600 rows, 2 to 6 clusters; by criterion: agreement 3, silhouette 3, bic 3' in output
    assert '\n3 clusters: three criteria agree\n' in output


def test_a_checkpoint(trained, tmp_path, call, capsys):
    call('choose_k', CONFIG, '--checkpoint', trained[0] / 'epoch_2.pth', '--range', 9, 10,
         '--out', tmp_path, options=NETWORK)  # fmt: skip
    assert '1437 rows, 9 to 10 clusters' in capsys.readouterr().out
    assert json.loads((tmp_path / 'choose_k.json').read_text())['num_rows'] == 1437


@pytest.mark.parametrize(
    ('source', 'args', 'message'),
    [
        ('good.npy', ('--range', 5, 2), 'must go up and start at 2 or more, got 5 2'),
        ('good.npy', ('--range', 2, 301), 'at most 300, two rows a cluster'),
        ('good.npy', ('--checkpoint', 'x.pth'), '--checkpoint and --cfg-options go with a config'),
        ('none.npy', (), 'does not exist'),
        ('text.npy', (), 'is no array of numbers'),
        ('empty', (), 'holds no rows: name a .npy file or the folder of a store'),
        ('damaged', (), 'part-0001.npy is damaged .*: give the command that made it again'),
        (CONFIG, (), 'has yet to be trained: say --checkpoint'),
    ],
)
def test_mistakes(source, args, message, tmp_path, call):
    np.save(tmp_path / 'good.npy', blobs())
    (tmp_path / 'text.npy').write_text('no rows')
    (tmp_path / 'empty').mkdir()
    if source == 'damaged':
        folder = store_of(tmp_path, blobs())
        (folder / 'part-0001.npy').write_bytes(b'x')
        source = folder.name
    source = source if source == CONFIG else tmp_path / source
    with pytest.raises(SystemExit, match=f'error: .*{message}'):
        call('choose_k', source, *args, '--out', tmp_path / 'out', options=None)
    assert not list((tmp_path / 'out').glob('*'))


def test_a_config_of_rows(tmp_path, call, capsys):
    """A pretrained network and a folder: ten dark and ten light images of several colours."""
    backbone = dict(type='ResNet', depth=18, stem_channels=4, base_channels=4)
    rng = np.random.RandomState(0)
    for i in range(20):
        pixels = rng.randint(40, size=(32, 32, 3)) + 200 * (i % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f'{i:02d}.png')
    init_default_scope('mmpretrain')
    torch.save({'state_dict': MODELS.build(backbone).state_dict()}, tmp_path / 'x.pth')
    config = tmp_path / 'rows.py'
    config.write_text(
        f"_base_ = '{ROOT}/configs/cdc_r50_folder_pretrained.py'\n"
        f"encoder = dict(backbone=dict(_delete_=True, **{backbone}), weights='{tmp_path}/x.pth')\n"
        f"rows = dict(dataset=dict(data_root='{tmp_path}'), encoder=encoder, num_workers=0,\n"
        f"            store_dir='{tmp_path}/store')\n"
        'train_dataloader = dict(dataset=rows)\n'
    )
    call('choose_k', config, '--range', 2, 3, '--out', tmp_path / 'out', options=None)
    assert '20 rows, 2 to 3 clusters' in capsys.readouterr().out
    (store,) = (tmp_path / 'store').glob('encoder_*')  # no augmented views are made
    call('choose_k', store, '--range', 2, 3, '--out', tmp_path / 'again', options=None)
    results = [json.loads((tmp_path / f / 'choose_k.json').read_text()) for f in ('out', 'again')]
    assert results[0] == results[1]
