import io
import os
import pickle
import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from helpers import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cdc_mm.apis import check_checkpoint, read_state_dict, trust_checkpoints
from cdc_mm.checkpoints import find_resumable, newest_checkpoint, read_meta
from cdc_mm.checkpoints.released import RELEASED


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


@pytest.mark.parametrize('name', RELEASED)
def test_a_missing_released_file_comes_with_its_address(tmp_path, name):
    path = tmp_path / 'checkpoints' / name
    with pytest.raises(FileNotFoundError) as told:
        check_checkpoint(Net(), str(path), 'init')
    assert f'curl -L --create-dirs -o {path} {RELEASED[name]}' in str(told.value)
    assert RELEASED[name].endswith(f'/{name}')


def test_the_configs_that_start_from_released_files_name_them():
    named = {
        Path(line.split("'")[1]).name
        for path in ROOT.glob('configs/*.py')
        for line in path.read_text().splitlines()
        if line.startswith("load_from = 'checkpoints/")
    }
    assert named == set(RELEASED)


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


MARK = torch.tensor([1.23456]).numpy().tobytes()


def write_run(folder, iters=(11, 22, 33), seed=5):
    """Checkpoints of a run, each slightly newer than the one before."""
    for i, iteration in enumerate(iters):
        path = folder / f'epoch_{i + 1}.pth'
        state = dict(Net().state_dict(), queue=torch.full((3,), 1.23456))
        content = dict(state_dict=state, meta=dict(iter=iteration, seed=seed))
        torch.save(content, path)
        os.utime(path, (i, i))
    (folder / 'last_checkpoint').write_text(str(path))


def damage(path, how):
    content = path.read_bytes()
    if how == 'empty':
        content = b''
    elif how == 'cut':
        content = content[: len(content) // 2]
    else:  # one bit of a weight
        position = content.index(MARK) if how == 'flip' else content.index(b'data.pkl') + 60
        content = content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]
    path.write_bytes(content)


class TestFindResumable:
    def test_takes_the_one_that_trained_longest(self, tmp_path):
        assert find_resumable(str(tmp_path)) == (None, [])
        write_run(tmp_path, iters=(11, 33, 22))
        assert find_resumable(str(tmp_path)) == (str(tmp_path / 'epoch_2.pth'), [])
        assert read_meta(str(tmp_path / 'epoch_2.pth'))['seed'] == 5

    def test_looks_where_the_checkpoints_are(self, tmp_path):
        (tmp_path / 'elsewhere').mkdir()
        write_run(tmp_path / 'elsewhere')
        (tmp_path / 'elsewhere' / 'last_checkpoint').rename(tmp_path / 'last_checkpoint')
        assert find_resumable(str(tmp_path))[0] == str(tmp_path / 'elsewhere' / 'epoch_3.pth')

    def test_a_copy_is_a_run_of_its_own(self, tmp_path):
        """The note of an older version, or mmengine's, is an absolute path."""
        original, copy = tmp_path / 'original', tmp_path / 'copy'
        original.mkdir()
        write_run(original)
        shutil.copytree(original, copy)
        write_run(original, iters=(11, 22, 33, 44))
        assert find_resumable(str(copy)) == (str(copy / 'epoch_3.pth'), [])
        assert newest_checkpoint(copy) == str(copy / 'epoch_3.pth')
        (copy / 'last_checkpoint').write_text('epoch_2.pth')
        assert newest_checkpoint(str(copy)) == str(copy / 'epoch_2.pth')

    def test_passes_over_those_of_another_run(self, tmp_path):
        write_run(tmp_path)
        content = torch.load(tmp_path / 'epoch_3.pth')
        content['meta']['run_id'] = 'other'
        torch.save(content, tmp_path / 'epoch_3.pth')
        (tmp_path / 'run.json').write_text('{"id": "this"}')
        path, (reason,) = find_resumable(str(tmp_path))
        assert path == str(tmp_path / 'epoch_2.pth')
        assert reason == f'{tmp_path}/epoch_3.pth is of another run than {tmp_path}'

    @pytest.mark.parametrize('how', ['empty', 'cut', 'flip', 'flip in the pickle'])
    def test_passes_over_a_damaged_one_and_says_so(self, tmp_path, how):
        write_run(tmp_path)
        damage(tmp_path / 'epoch_3.pth', how)
        path, (reason,) = find_resumable(str(tmp_path))
        assert path == str(tmp_path / 'epoch_2.pth')
        assert reason.startswith(f'{tmp_path}/epoch_3.pth is damaged')

    def test_a_pointer_to_nothing_does_not_hinder(self, tmp_path):
        write_run(tmp_path)
        (tmp_path / 'last_checkpoint').write_bytes(b'\xff\x00')
        assert find_resumable(str(tmp_path)) == (str(tmp_path / 'epoch_3.pth'), [])

    def test_leaves_out_weights_without_a_run(self, tmp_path):
        torch.save(Net().state_dict(), tmp_path / 'weights.pth')
        torch.save([1], tmp_path / 'list.pth')
        assert find_resumable(str(tmp_path)) == (None, [])
        assert read_meta(str(tmp_path / 'weights.pth')) == {}

    def test_refuses_when_all_are_damaged(self, tmp_path):
        write_run(tmp_path)
        for i in (1, 2, 3):
            damage(tmp_path / f'epoch_{i}.pth', 'cut')
        with pytest.raises(ValueError, match=r'no checkpoint of .* can be resumed from: .*epoch_1'):
            find_resumable(str(tmp_path))

    def test_code_is_not_passed_over(self, tmp_path):
        write_run(tmp_path)
        torch.save(dict(meta=dict(iter=44), extra=Payload()), tmp_path / 'epoch_4.pth')
        with pytest.raises(ValueError, match='--trust-checkpoint'):
            find_resumable(str(tmp_path))


_GOOD = io.BytesIO()
torch.save(dict(state_dict={'w': torch.arange(40.0)}, meta=dict(iter=1, seed=2)), _GOOD)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    changes=st.lists(st.tuples(st.integers(0, 5000), st.binary(max_size=4)), max_size=4),
    end=st.integers(0, 5000),
)
def test_no_content_of_a_checkpoint_does_more_than_refuse(changes, end):
    content = bytearray(_GOOD.getvalue()[:end])
    for position, new in changes:
        position %= len(content) + 1
        content[position : position + len(new)] = new
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'x.pth'
        path.write_bytes(content)
        try:
            state = read_state_dict(str(path))
        except ValueError as error:
            assert str(path) in str(error)
        else:
            assert torch.equal(state['w'], torch.arange(40.0))
