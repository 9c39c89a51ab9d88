import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Dict, List

import torch
from mmengine.logging import MMLogger
from torch import nn


def trust_checkpoints() -> None:
    """Let checkpoints run code while they load. For files whose maker one trusts."""
    os.environ['TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'] = '1'


def read_state_dict(filename: str) -> 'OrderedDict[str, torch.Tensor]':
    """Read the weights of a checkpoint without running anything that is in it.

    Args:
        filename (str): A local file.

    Returns:
        OrderedDict: The weights by name, without the prefix ``module.``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, holds more than plain data, or holds no weights.
    """
    if not Path(filename).is_file():
        raise FileNotFoundError(f'there is no checkpoint {filename}')
    try:
        checkpoint = torch.load(filename, map_location='cpu')
    except pickle.UnpicklingError as error:
        if 'Weights only load failed' not in str(error):
            raise ValueError(f'{filename} is damaged or no checkpoint: {error}') from error
        raise ValueError(
            f'{filename} holds Python objects besides weights; loading them could run any code. '
            'If you trust whoever made the file, add --trust-checkpoint.'
        ) from error
    except (EOFError, RuntimeError) as error:
        raise ValueError(f'{filename} is damaged or no checkpoint: {error}') from error
    state = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, dict) else {}
    state = _unwrap({k: v for k, v in state.items() if torch.is_tensor(v)})
    if not state:
        raise ValueError(f'{filename} holds no weights')
    return state


def check_checkpoint(model: nn.Module, filename: str, purpose: str) -> None:
    """Refuse a checkpoint that does not fit the model, before anything is done with it.

    mmengine only warns about weights that are missing or of another shape and goes on with random
    ones.

    Args:
        model (nn.Module): The model that will load the file. Its ``training_only``, if it has one,
            says how the names of what prediction does not use start.
        filename (str): The checkpoint. Addresses (``https://...``) are left to mmengine.
        purpose (str): ``resume`` wants every weight, ``test`` all that prediction uses, ``init``
            (``load_from``) at least one, all of the right shape.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, or does not fit.
    """
    if '://' in filename:
        return
    state = read_state_dict(filename)
    own = _unwrap(model.state_dict())
    training_only = tuple(getattr(getattr(model, 'module', model), 'training_only', ()))
    wanted = [k for k in own if purpose == 'resume' or not k.startswith(training_only)]
    missing = [k for k in wanted if k not in state]
    misfits = [
        f'{k} {tuple(state[k].shape)}, the model has {tuple(own[k].shape)}'
        for k in (own if purpose == 'init' else wanted)
        if k in state and state[k].shape != own[k].shape
    ]
    if misfits:
        raise ValueError(
            f'{filename} is of another architecture: {_first(misfits)}. Use the config that it '
            'was trained with.'
        )
    if missing and (purpose != 'init' or len(missing) == len(wanted)):
        raise ValueError(
            f'{filename} lacks {len(missing)} of the {len(wanted)} weights of this model: '
            f'{_first(missing)}. Use the config that it was trained with.'
        )
    MMLogger.get_current_instance().info(
        f'{filename} fills {len(wanted) - len(missing)} of {len(wanted)} weights.'
    )


def _unwrap(state: Dict[str, torch.Tensor]) -> 'OrderedDict[str, torch.Tensor]':
    # Parallel and test-time-augmentation wrappers name their model `module`.
    return OrderedDict((name.removeprefix('module.'), value) for name, value in state.items())


def _first(names: List[str], count: int = 3) -> str:
    return '; '.join(names[:count]) + ('; ...' if len(names) > count else '')
