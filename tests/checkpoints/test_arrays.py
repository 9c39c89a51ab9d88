import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from cdc_mm.checkpoints import read_arrays, trust_checkpoints


class Payload:
    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


@pytest.fixture(autouse=True)
def no_trust(monkeypatch):
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '0')


@pytest.mark.parametrize('protocol', range(6))
def test_plain_arrays_come_back(tmp_path, protocol):
    content = dict(
        model=OrderedDict(
            a=np.arange(6, dtype=np.float32).reshape(2, 3), b=np.float32(2), c=np.array([b'x'])
        ),
        __author__='x', flag=True, numbers=[1, 2.0, None, (3,)],
    )  # fmt: skip
    path = tmp_path / 'x.pkl'
    path.write_bytes(pickle.dumps(content, protocol))
    read = read_arrays(str(path))
    assert read.keys() == content.keys() and read['numbers'] == content['numbers']
    assert np.array_equal(read['model']['a'], content['model']['a']) and read['model']['b'] == 2
    # The name that numpy 1 gives its rooms.
    if protocol < 4:
        path.write_bytes(path.read_bytes().replace(b'numpy._core', b'numpy.core'))
        assert np.array_equal(read_arrays(str(path))['model']['a'], content['model']['a'])


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize(
    'payload',
    [
        lambda path: Payload(os.mkdir, path),
        lambda path: Payload(exec, f'import os; os.mkdir({path!r})'),
        lambda path: np.array([Payload(os.mkdir, path)], dtype=object),
        lambda path: np.load,
    ],
)
def test_anything_else_is_refused_and_does_not_run(tmp_path, payload, protocol, monkeypatch):
    path = tmp_path / 'x.pkl'
    content = dict(model=dict(a=np.zeros(2)), extra=payload(str(tmp_path / 'ran')))
    path.write_bytes(pickle.dumps(content, protocol))
    with pytest.raises(ValueError, match=r'x\.pkl holds Python objects.*--trust-checkpoint'):
        read_arrays(str(path))
    assert not (tmp_path / 'ran').exists()
    trust_checkpoints()
    assert read_arrays(str(path))
