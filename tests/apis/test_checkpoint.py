import os
import pickle

import pytest
import torch
from torch import nn

from cdc_mm.apis import check_checkpoint, read_state_dict, trust_checkpoints


class Net(nn.Module):
    training_only = ('momentum_encoder.', 'queue')

    def __init__(self, width=3):
        super().__init__()
        self.backbone = nn.Linear(2, width)
        self.momentum_encoder = nn.Linear(2, width)
        self.register_buffer('queue', torch.zeros(width))


class Payload:
    """An object that loads by calling ``exec``."""

    def __reduce__(self):
        return (exec, ('import os; os.environ["CDC_MM_PWNED"] = "1"',))


@pytest.fixture
def save(tmp_path):
    def write(content):
        path = tmp_path / 'x.pth'
        torch.save(content, path)
        return str(path)

    return write


def test_reads_weights_under_either_layout(save):
    state = Net().state_dict()
    for content in (state, dict(state_dict=state), {f'module.{k}': v for k, v in state.items()}):
        assert set(read_state_dict(save(content))) == set(state)


def test_refuses_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='there is no checkpoint'):
        read_state_dict(str(tmp_path / 'no.pth'))


def test_refuses_code_and_names_the_flag(save, monkeypatch):
    monkeypatch.delenv('CDC_MM_PWNED', raising=False)
    path = save(dict(state_dict=Net().state_dict(), extra=Payload()))
    with pytest.raises(ValueError, match='--trust-checkpoint'):
        read_state_dict(path)
    assert 'CDC_MM_PWNED' not in os.environ
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '0')
    trust_checkpoints()
    assert read_state_dict(path)
    assert os.environ.pop('CDC_MM_PWNED') == '1'


@pytest.mark.parametrize('content', [b'', b'not a checkpoint', pickle.dumps([1])])
def test_refuses_a_damaged_file(tmp_path, content):
    path = tmp_path / 'x.pth'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'x\.pth'):
        read_state_dict(str(path))


def test_refuses_a_truncated_file(save):
    path = save(Net().state_dict())
    with open(path, 'r+b') as file:
        file.truncate(700)
    with pytest.raises(ValueError, match='damaged'):
        read_state_dict(path)


@pytest.mark.parametrize('content', [{}, dict(state_dict={}), dict(epoch=3), [1]])
def test_refuses_a_file_without_weights(save, content):
    with pytest.raises(ValueError, match='holds no weights'):
        read_state_dict(save(content))


@pytest.mark.parametrize('purpose', ['resume', 'test', 'init'])
def test_accepts_its_own(save, purpose):
    check_checkpoint(Net(), save(Net().state_dict()), purpose)


@pytest.mark.parametrize('purpose', ['resume', 'test', 'init'])
def test_refuses_another_width(save, purpose):
    with pytest.raises(ValueError, match=r'another architecture: .*backbone.weight \(4, 2\)'):
        check_checkpoint(Net(3), save(Net(4).state_dict()), purpose)


def test_test_needs_no_queue_or_momentum_encoder(save):
    state = {k: v for k, v in Net().state_dict().items() if k.startswith('backbone')}
    check_checkpoint(Net(), save(state), 'test')
    with pytest.raises(ValueError, match='lacks 3 of the 5 weights'):
        check_checkpoint(Net(), save(state), 'resume')


def test_init_wants_at_least_one_weight(save):
    path = save({'backbone.weight': Net().backbone.weight})
    check_checkpoint(Net(), path, 'init')
    with pytest.raises(ValueError, match='lacks 1 of the 2'):
        check_checkpoint(Net(), path, 'test')
    with pytest.raises(ValueError, match='lacks 2 of the 2'):
        check_checkpoint(Net(), save({'encoder.weight': torch.zeros(1)}), 'init')


def test_addresses_are_left_to_mmengine():
    check_checkpoint(Net(), 'https://example.org/x.pth', 'test')
