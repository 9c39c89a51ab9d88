from .config import read_config, set_dataloader_defaults, use_amp
from .hooks import BroadcastBNHook, ContactSheetHook, SafeCheckpointHook
from .optim_wrappers import CPUAmpOptimWrapper
from .recipe import check_processes
from .runner import build_runner, init_cpu_distribution, prepare_test, prepare_training

__all__ = [
    'BroadcastBNHook',
    'CPUAmpOptimWrapper',
    'ContactSheetHook',
    'SafeCheckpointHook',
    'build_runner',
    'check_processes',
    'init_cpu_distribution',
    'prepare_test',
    'prepare_training',
    'read_config',
    'set_dataloader_defaults',
    'use_amp',
]
