import io
import os
import pickletools
import zipfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Iterable, List, Mapping, Optional, Tuple

import torch
from mmengine.logging import MMLogger
from torch import nn

from cdc_mm.wrappers import unwrap_model

from .addresses import local_checkpoint
from .released import missing_checkpoint
from .work_dir import newest_checkpoint, read_run


class DamagedCheckpointError(ValueError):
    """A checkpoint that cannot be read."""


def trust_checkpoints() -> None:
    """Let checkpoints run code while they load. For files whose maker one trusts."""
    os.environ['TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'] = '1'


def is_trusting() -> bool:
    """Whether :func:`trust_checkpoints` was called."""
    return os.environ.get('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD') == '1'


def untrusted_checkpoint(filename: str) -> ValueError:
    """What to tell of a checkpoint that could run code, to be raised."""
    return ValueError(
        f'{filename} holds Python objects besides weights; loading them could run any code. '
        'If you trust whoever made the file, add --trust-checkpoint.'
    )


def read_checkpoint(filename: str) -> dict:
    """Read a checkpoint whole, its checksums compared, without running anything that is in it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or holds more than plain data.
    """
    return _load(filename)


def read_state_dict(filename: str) -> 'OrderedDict[str, torch.Tensor]':
    """Read the weights of a checkpoint without running anything that is in it.

    Args:
        filename (str): A file, or its address: see :func:`fetch_checkpoint`.

    Returns:
        OrderedDict: The weights by name, without the prefix ``module.``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, holds more than plain data, or holds no weights.
    """
    checkpoint = _load(filename)
    # Where files keep the weights: most, DINO, DeiT and others; or they hold nothing else.
    held = [checkpoint.get(key) for key in ('state_dict', 'teacher', 'model')]
    state = next((weights for weights in held if isinstance(weights, dict)), checkpoint)
    # Parallel and test-time-augmentation wrappers name their model `module`.
    state = OrderedDict(
        (name.removeprefix('module.'), value)
        for name, value in state.items()
        if torch.is_tensor(value)
    )
    if not state:
        raise ValueError(f'{filename} holds no weights')
    return state


def find_resumable(work_dir: str) -> Tuple[Optional[str], List[str]]:
    """Find the checkpoint of a work dir that has trained longest and can be read.

    A damaged one, say cut off by a full disk, is passed over, and so is one of another run
    (:func:`read_run`). mmengine takes the one that was written last and fails if it is damaged.

    Args:
        work_dir (str): The folder of the run that is to go on.

    Returns:
        tuple: The checkpoint, None if there is none; and what is wrong with those passed over.

    Raises:
        ValueError: If there are checkpoints, but none that can be taken, or if the one to resume
            from holds more than plain data.
    """
    folders = {Path(work_dir)}
    newest = newest_checkpoint(work_dir)
    if newest is not None:  # which may lie in another folder
        folders.add(Path(newest).parent)
    run = read_run(work_dir).get('id')
    damaged, found = [], []
    for path in sorted(path for folder in folders for path in folder.glob('*.pth')):
        try:
            meta = read_meta(str(path))
        except DamagedCheckpointError as error:
            damaged.append(str(error))
            continue
        if run is not None and meta.get('run_id', run) != run:
            damaged.append(f'{path} is of another run than {work_dir}')
        elif meta.get('iter') is not None:
            found.append((meta['iter'], path.stat().st_mtime_ns, str(path)))
    for _, _, path in sorted(found, reverse=True):
        try:
            read_state_dict(path)
        except DamagedCheckpointError as error:
            damaged.append(str(error))
        else:
            return path, damaged
    if damaged:
        raise ValueError(f'no checkpoint of {work_dir} can be resumed from: {"; ".join(damaged)}')
    return None, []


def read_meta(filename: str) -> dict:
    """What a checkpoint says of the run that wrote it; the weights are not read.

    Args:
        filename (str): A local file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or holds more than plain data.
    """
    meta = _load(filename, mmap=True).get('meta')
    return meta if isinstance(meta, dict) else {}


def check_checkpoint(model: nn.Module, filename: str, purpose: str) -> None:
    """Refuse a checkpoint that does not fit the model, before anything is done with it.

    mmengine only warns about weights that are missing or of another shape and goes on with random
    ones.

    Args:
        model (nn.Module): The model that will load the file. Its ``training_only``, if it has one,
            says how the names of what prediction does not use start.
        filename (str): The checkpoint, a file or its address.
        purpose (str): ``resume`` wants every weight, ``test`` all that prediction uses, ``init``
            (``load_from``) at least one; those that prediction uses of the right shape.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, does not fit, or holds NaN or infinity.
    """
    check_weights(model, read_state_dict(filename), filename, purpose)


def check_weights(
    model: nn.Module, state: 'OrderedDict[str, torch.Tensor]', filename: str, purpose: str
) -> None:
    """As :func:`check_checkpoint`, of weights that have been read."""
    model = unwrap_model(model)
    own = model.state_dict()
    if hasattr(model, 'rename_weights'):
        state = OrderedDict(state)
        model.rename_weights(state)
    training_only = tuple(getattr(model, 'training_only', ()))
    wanted = [k for k in own if purpose == 'resume' or not k.startswith(training_only)]
    missing = [k for k in wanted if k not in state]
    misfits = [
        f'{k} {tuple(state[k].shape)}, the model has {tuple(own[k].shape)}'
        for k in wanted
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
    check_finite(state, own if purpose == 'init' else wanted, filename)
    MMLogger.get_current_instance().info(
        f'{filename} fills {len(wanted) - len(missing)} of {len(wanted)} weights.'
    )


def check_finite(state: Mapping[str, torch.Tensor], names: Iterable[str], filename: str) -> None:
    """Refuse weights that are NaN or infinite: predictions of them are all the same.

    Args:
        state (Mapping): Weights by name.
        names (Iterable): The names of those that will be used; others may be missing.
        filename (str): For the message.

    Raises:
        ValueError: Says how many are bad and where the training may have a better checkpoint.
    """
    used = [name for name in names if name in state and state[name].is_floating_point()]
    bad = [name for name in used if not state[name].isfinite().all()]
    if bad:
        raise ValueError(
            f'{filename} holds NaN or infinity in {len(bad)} of {len(used)} weights: '
            f'{_first(bad)}. The training that wrote it has collapsed; take an earlier checkpoint '
            'of it, or healthy.pth in its work dir.'
        )


def _load(filename: str, mmap: bool = False) -> dict:
    """The content of a checkpoint; with ``mmap`` tensors are not read, nor are they checked."""
    filename = local_checkpoint(filename)
    if not Path(filename).is_file():
        raise missing_checkpoint(filename)
    try:
        is_zip = zipfile.is_zipfile(filename)  # what torch.save has written since 2020
        if is_zip:
            _check_sums(filename, 'data.pkl' if mmap else '')
        checkpoint = torch.load(filename, map_location='cpu', mmap=mmap and is_zip)
    except Exception as error:  # damaged files make unpickling raise anything
        if 'Weights only load failed' not in str(error) or not _names_code(filename):
            reason = str(error).strip().split('\n')[0] or type(error).__name__
            raise DamagedCheckpointError(
                f'{filename} is damaged or no checkpoint: {reason}'
            ) from error
        raise untrusted_checkpoint(filename) from error
    return checkpoint if isinstance(checkpoint, dict) else {}


def _names_code(filename: str) -> bool:
    """Whether a file holds a pickle that refers to code. It is read as text, not followed."""
    content = Path(filename).read_bytes()
    if zipfile.is_zipfile(filename):
        with zipfile.ZipFile(filename) as archive:
            parts = [name for name in archive.namelist() if name.endswith('data.pkl')]
            content = b''.join(archive.read(name) for name in parts)
    stream, names = io.BytesIO(content), set()
    with suppress(Exception):  # where pickles end and other bytes begin
        while stream.tell() < len(content):  # older files hold several, one after the other
            for instruction, _, _ in pickletools.genops(stream):
                names.add(instruction.name)
    return bool(names & {'GLOBAL', 'STACK_GLOBAL', 'INST', 'OBJ', 'EXT1', 'EXT2', 'EXT4'})


def _check_sums(filename: str, suffix: str) -> None:
    """Compare the parts of a zip file whose names end with ``suffix`` with their checksums."""
    with zipfile.ZipFile(filename) as archive:
        for part in archive.infolist():
            # torch does not look at the sums, and can be told not to write them.
            if part.CRC and part.filename.endswith(suffix):
                with archive.open(part) as file:
                    while file.read(1 << 20):
                        pass


def _first(names: List[str], count: int = 3) -> str:
    return '; '.join(names[:count]) + ('; ...' if len(names) > count else '')
