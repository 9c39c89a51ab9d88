"""Pickle files of plain arrays, as detectron2 and Caffe2 have their weights."""

import pickle
from collections import OrderedDict
from typing import Any

import numpy as np

from .files import is_trusting, untrusted_checkpoint


def read_arrays(filename: str) -> Any:
    """Read a pickle file that holds nothing but arrays, numbers, strings and containers of them.

    Args:
        filename (str): A local file.

    Returns:
        Any: Its content; with ``--trust-checkpoint`` whatever it is.

    Raises:
        ValueError: If it holds anything else; nothing of it is run.
        UnpicklingError, EOFError and others: If it is damaged.
    """
    with open(filename, 'rb') as file:
        # Python 2 wrote the oldest of them.
        reader = pickle.Unpickler if is_trusting() else _ArrayUnpickler
        try:
            return reader(file, encoding='latin1').load()
        except _NotPlainError as error:
            raise untrusted_checkpoint(filename) from error


class _NotPlainError(Exception):
    """A pickle that asks for more than arrays."""


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        # numpy 1 and 2 name their rooms differently and read each other's files.
        module = module.replace('numpy._core', 'numpy.core')
        if (module, name) not in _PLAIN:
            raise _NotPlainError(f'{module}.{name}')
        return _PLAIN[module, name]


def _encode_latin1(text: str, encoding: str = 'latin1') -> bytes:
    """How bytes lie in pickles of protocol 2; of the codecs of Python this one alone."""
    if encoding not in ('latin1', 'latin-1'):
        raise _NotPlainError(f'_codecs.encode {encoding}')
    return text.encode('latin1')


_ARRAY = np.zeros(1)
_PLAIN = {
    ('collections', 'OrderedDict'): OrderedDict,
    ('numpy', 'ndarray'): np.ndarray,
    ('numpy', 'dtype'): np.dtype,
    # Functions without a public name: as numpy itself gives them to pickle.
    ('numpy.core.multiarray', '_reconstruct'): _ARRAY.__reduce__()[0],
    ('numpy.core.numeric', '_frombuffer'): _ARRAY.__reduce_ex__(5)[0],
    ('numpy.core.multiarray', 'scalar'): _ARRAY[0].__reduce__()[0],
    ('_codecs', 'encode'): _encode_latin1,
}
