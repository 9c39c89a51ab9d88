from .atomic import AtomicBackend
from .files import (
    DamagedCheckpointError,
    check_checkpoint,
    check_weights,
    find_resumable,
    read_seed,
    read_state_dict,
    trust_checkpoints,
)
from .layouts import check_backbone, fit_backbone, pick_backbone, read_backbone

__all__ = [
    'AtomicBackend',
    'DamagedCheckpointError',
    'check_backbone',
    'check_checkpoint',
    'check_weights',
    'find_resumable',
    'fit_backbone',
    'pick_backbone',
    'read_backbone',
    'read_seed',
    'read_state_dict',
    'trust_checkpoints',
]
