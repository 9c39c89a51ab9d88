from .config import read_config, set_dataloader_defaults, use_amp
from .config_keys import check_keys
from .hooks import BroadcastBNHook, ContactSheetHook, SafeCheckpointHook
from .optim_wrappers import BFloat16OptimWrapper
from .optimizers import ForeachLARS
from .paths import naming_paths
from .recipe import check_processes
from .runner import build_runner, init_cpu_distribution, prepare_test, prepare_training
from .work_dir import Claim, claim_work_dir, holding, lock_work_dir

__all__ = [
    'BFloat16OptimWrapper',
    'BroadcastBNHook',
    'Claim',
    'ContactSheetHook',
    'ForeachLARS',
    'SafeCheckpointHook',
    'build_runner',
    'check_keys',
    'check_processes',
    'claim_work_dir',
    'holding',
    'init_cpu_distribution',
    'lock_work_dir',
    'naming_paths',
    'prepare_test',
    'prepare_training',
    'read_config',
    'set_dataloader_defaults',
    'use_amp',
]
