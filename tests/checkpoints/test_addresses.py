"""Checkpoints by address; nothing that is in them runs, whoever reads them."""

import hashlib

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.runner import CheckpointLoader
from torch import nn

from cdc_mm.checkpoints import check_checkpoint, fetch_checkpoint, read_state_dict
from cdc_mm.models import Encoder


class Payload:
    def __reduce__(self):
        return (exec, ('import os; os.environ["CDC_MM_PWNED"] = "1"',))


def test_is_fetched_once_and_its_hash_is_told(served):
    folder, url = served
    torch.save(nn.Linear(2, 3).state_dict(), folder / 'x.pth')
    for _ in range(2):
        path, told = fetch_checkpoint(f'{url}/x.pth')
    digest = hashlib.sha256((folder / 'x.pth').read_bytes()).hexdigest()
    assert f'{url}/x.pth lies in {path}' in told and digest in told
    check_checkpoint(nn.Linear(2, 3), f'{url}/x.pth', 'resume')
    assert set(read_state_dict((folder / 'x.pth').as_uri())) == {'weight', 'bias'}
    (folder / 'x.pth').write_bytes(b'')
    assert fetch_checkpoint(f'{url}/x.pth') == (path, told)


def test_code_does_not_run_whoever_reads_it(served):
    folder, url = served
    state = nn.Linear(2, 3).state_dict()
    torch.save(dict(state_dict=state, extra=Payload()), folder / 'x.pth')
    torch.save(dict(state_dict=state, extra=Payload()), folder / 'old.pth',
               _use_new_zipfile_serialization=False)  # fmt: skip
    module = BaseModule(dict(type='Pretrained', checkpoint=f'{url}/x.pth'))
    module.layer = nn.Linear(2, 3)
    encoder = Encoder(dict(type='ResNet_CIFAR', depth=18), weights=f'{url}/x.pth')
    readers = [
        lambda: check_checkpoint(nn.Linear(2, 3), f'{url}/x.pth', 'test'),
        lambda: check_checkpoint(nn.Linear(2, 3), (folder / 'x.pth').as_uri(), 'test'),
        lambda: CheckpointLoader.load_checkpoint(f'{url}/x.pth'),
        lambda: CheckpointLoader.load_checkpoint(f'{url}/old.pth'),
        lambda: CheckpointLoader.load_checkpoint((folder / 'x.pth').as_uri()),
        lambda: CheckpointLoader.load_checkpoint(str(folder / 'x.pth')),
        module.init_weights,
        encoder.init_weights,
    ]
    for read in readers:
        with pytest.raises(ValueError, match='add --trust-checkpoint'):
            read()


def test_zoos_of_mmengine_read_through_the_same_checks(served, monkeypatch):
    from mmengine.runner import checkpoint

    folder, url = served
    torch.save(dict(extra=Payload()), folder / 'x.pth')
    monkeypatch.setattr(checkpoint, 'get_torchvision_models', lambda: dict(net=f'{url}/x.pth'))
    with pytest.raises(ValueError, match='add --trust-checkpoint'):
        CheckpointLoader.load_checkpoint('torchvision://net')


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('none.pth', 'cannot be fetched: HTTP Error 404'),
        ('short.pth', r'cannot be fetched: it ended after \d+ of \d+ bytes'),
        ('x-0123abcd.pth', 'is not the file that its name says'),
    ],
)
def test_what_is_not_whole_does_not_stay(served, name, message):
    folder, url = served
    if name != 'none.pth':
        torch.save(nn.Linear(2, 3).state_dict(), folder / name)
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            fetch_checkpoint(f'{url}/{name}')


@pytest.mark.parametrize('address', ['s3://bucket/x.pth', 'ftp://x/x.pth'])
def test_other_addresses_are_refused(address):
    with pytest.raises(ValueError, match='no address that checkpoints are fetched from'):
        fetch_checkpoint(address)


def test_one_that_fits_nothing_is_refused(served):
    folder, url = served
    torch.save(dict(other=torch.zeros(3)), folder / 'x.pth')
    for purpose in ('init', 'test', 'resume'):
        with pytest.raises(ValueError, match='lacks 2 of the 2 weights'):
            check_checkpoint(nn.Linear(2, 3), f'{url}/x.pth', purpose)
