"""What tools/publish_model.py writes is small, plain, and predicts as the checkpoint does."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import CONFIG, SMALL

from cdc_mm import apis
from cdc_mm.checkpoints import fetch_checkpoint
from cdc_mm.checkpoints.published import TRAINING_ONLY
from cdc_mm.models.clusterers.base import BaseClusterer


def test_a_published_file_predicts_the_same(trained, call, tmp_path, capsys):
    checkpoint = trained[0] / 'epoch_2.pth'
    call('publish_model', checkpoint, tmp_path / 'model.pth', options=None)
    (path,) = tmp_path.glob('model*.pth')
    assert str(path) in capsys.readouterr().out
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.name == f'model-{digest[:8]}.pth'
    assert path.stat().st_size < checkpoint.stat().st_size / 2
    found = torch.load(path, weights_only=True)
    assert set(found) == {'meta', 'state_dict'} and set(found['meta']) <= {'dataset_meta'}
    whole = torch.load(checkpoint, weights_only=True)['state_dict']
    left_out = set(whole) - set(found['state_dict'])
    assert left_out == {name for name in whole if name.startswith(TRAINING_ONLY)} and left_out
    tables = []
    for file in (checkpoint, path):
        call('test', CONFIG, file, '--work-dir', tmp_path / 'work',
             '--out', tmp_path / 'pred.csv', options=SMALL)  # fmt: skip
        tables.append((tmp_path / 'pred.csv').read_text())
    assert tables[0] == tables[1]


def test_the_hash_is_the_one_that_fetching_compares(trained, served, tmp_path):
    folder, address = served
    path = apis.publish_checkpoint(str(trained[0] / 'epoch_2.pth'), folder / 'model')
    assert re.fullmatch(r'model-[0-9a-f]{8}\.pth', path.name)
    assert Path(fetch_checkpoint(f'{address}/{path.name}')[0]).read_bytes() == path.read_bytes()
    path.write_bytes(path.read_bytes() + b'x')
    other = path.rename(path.with_name(path.name.replace('model', 'other')))
    with pytest.raises(ValueError, match=other.stem.split('-')[1]):
        fetch_checkpoint(f'{address}/{other.name}')


def test_clusterers_inside_others_and_views_are_small(tmp_path):
    large = torch.zeros(10000)
    state = {
        'clusterer.queue.rows': large,
        'heads.3.head.assigner.x': large,
        'pseudo_labels.targets': large,
        'clusterer.encoder.weight': large[:2],
        'queue_like.weight': torch.ones(1),
    }
    torch.save(dict(state_dict=state, optimizer=dict(state={})), tmp_path / 'x.pth')
    path = apis.publish_checkpoint(str(tmp_path / 'x.pth'), tmp_path / 'y.pth')
    found = torch.load(path, weights_only=True)['state_dict']
    assert list(found) == ['clusterer.encoder.weight', 'queue_like.weight']
    assert path.stat().st_size < 5000


def test_all_that_clusterers_name_is_known():
    def kinds(kind):
        yield kind
        for own in kind.__subclasses__():
            yield from kinds(own)

    named = [kind.training_only for kind in kinds(BaseClusterer)]
    named = {name for names in named if isinstance(names, tuple) for name in names}
    assert named and named <= set(TRAINING_ONLY)


def test_mistakes_are_one_line(call, tmp_path):
    (tmp_path / 'text.pth').write_text('no checkpoint')
    torch.save(dict(state_dict=dict(a=torch.tensor(np.nan))), tmp_path / 'nan.pth')
    torch.save(dict(state_dict={}), tmp_path / 'empty.pth')
    for name, message in (
        ('gone', 'there is no checkpoint'),
        ('text', 'is damaged or no checkpoint'),
        ('nan', 'holds NaN or infinity'),
        ('empty', 'holds no weights'),
    ):
        with pytest.raises(SystemExit, match=message):
            call('publish_model', tmp_path / f'{name}.pth', tmp_path / 'out.pth', options=None)
    with pytest.raises(SystemExit, match='cannot be written to'):
        call('publish_model', tmp_path / 'nan.pth', tmp_path, options=None)
