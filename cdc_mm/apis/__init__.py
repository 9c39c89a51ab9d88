from .analysis import build_test_loader, collect_outputs, load_model, read_validation
from .backbone import check_backbone, read_backbone
from .checkpoint import check_checkpoint, read_state_dict, trust_checkpoints
from .features import FeatureExtractor, Features, labelled_rows, multi_hot
from .outputs import iterate_outputs, known_outputs
from .results import collect_results, find_paper_figures, results_table, write_results
from .runner import (
    build_runner,
    clear_errors,
    clear_run_errors,
    init_cpu_distribution,
    prepare_test,
    prepare_training,
    read_config,
    set_dataloader_defaults,
)
from .seeds import plan_seeds, run_chains, train_and_test, visible_devices

__all__ = [
    'FeatureExtractor',
    'Features',
    'build_runner',
    'build_test_loader',
    'check_backbone',
    'check_checkpoint',
    'clear_errors',
    'clear_run_errors',
    'collect_outputs',
    'collect_results',
    'find_paper_figures',
    'init_cpu_distribution',
    'iterate_outputs',
    'known_outputs',
    'labelled_rows',
    'load_model',
    'multi_hot',
    'plan_seeds',
    'prepare_test',
    'prepare_training',
    'read_backbone',
    'read_config',
    'read_state_dict',
    'read_validation',
    'results_table',
    'run_chains',
    'set_dataloader_defaults',
    'train_and_test',
    'trust_checkpoints',
    'visible_devices',
    'write_results',
]
