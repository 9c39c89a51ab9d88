from .checkpoint import check_checkpoint, read_state_dict, trust_checkpoints
from .runner import (
    build_runner,
    clear_errors,
    init_cpu_distribution,
    prepare_test,
    prepare_training,
    set_dataloader_defaults,
)

__all__ = [
    'build_runner',
    'check_checkpoint',
    'clear_errors',
    'init_cpu_distribution',
    'prepare_test',
    'prepare_training',
    'read_state_dict',
    'set_dataloader_defaults',
    'trust_checkpoints',
]
