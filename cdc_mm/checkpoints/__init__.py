from . import host  # noqa: F401  (mmengine's loaders)
from .addresses import cache_root, fetch_checkpoint, local_checkpoint
from .arrays import read_arrays
from .atomic import AtomicBackend
from .files import (
    DamagedCheckpointError,
    check_checkpoint,
    check_weights,
    find_resumable,
    is_trusting,
    read_checkpoint,
    read_meta,
    read_state_dict,
    trust_checkpoints,
)
from .layouts import (
    check_backbone,
    fill_backbone,
    fit_backbone,
    pick_backbone,
    read_backbone,
)
from .published import publish_checkpoint
from .work_dir import (
    list_checkpoints,
    newest_checkpoint,
    note_newest,
    read_run,
    remove_checkpoints,
    write_run,
)

__all__ = [
    'AtomicBackend',
    'DamagedCheckpointError',
    'cache_root',
    'check_backbone',
    'check_checkpoint',
    'check_weights',
    'fetch_checkpoint',
    'fill_backbone',
    'find_resumable',
    'fit_backbone',
    'is_trusting',
    'list_checkpoints',
    'local_checkpoint',
    'newest_checkpoint',
    'note_newest',
    'pick_backbone',
    'publish_checkpoint',
    'read_arrays',
    'read_backbone',
    'read_checkpoint',
    'read_meta',
    'read_run',
    'read_state_dict',
    'remove_checkpoints',
    'trust_checkpoints',
    'write_run',
]
