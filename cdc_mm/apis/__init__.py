from .backbone import check_backbone, read_backbone
from .checkpoint import check_checkpoint, read_state_dict, trust_checkpoints
from .outputs import iterate_outputs
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
    'check_backbone',
    'check_checkpoint',
    'clear_errors',
    'init_cpu_distribution',
    'iterate_outputs',
    'prepare_test',
    'prepare_training',
    'read_backbone',
    'read_state_dict',
    'set_dataloader_defaults',
    'trust_checkpoints',
]
