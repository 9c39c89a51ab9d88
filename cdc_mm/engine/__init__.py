from .config import read_config, set_dataloader_defaults, use_amp
from .hooks import BroadcastBNHook, ContactSheetHook, SafeCheckpointHook
from .optim_wrappers import CPUAmpOptimWrapper
from .recipe import check_processes
from .runner import build_runner, init_cpu_distribution, prepare_test, prepare_training
from .work_dir import claim_work_dir

__all__ = [
    'BroadcastBNHook',
    'CPUAmpOptimWrapper',
    'ContactSheetHook',
    'SafeCheckpointHook',
    'build_runner',
    'check_processes',
    'claim_work_dir',
    'init_cpu_distribution',
    'prepare_test',
    'prepare_training',
    'read_config',
    'set_dataloader_defaults',
    'use_amp',
]
