"""What a user calls from Python, and the tools with them; each lives in the room of its kind."""

from cdc_mm.checkpoints import (
    check_backbone,
    check_checkpoint,
    read_backbone,
    read_run,
    read_state_dict,
    trust_checkpoints,
)
from cdc_mm.engine import (
    build_runner,
    claim_work_dir,
    init_cpu_distribution,
    lock_work_dir,
    prepare_test,
    prepare_training,
    read_config,
    set_dataloader_defaults,
    use_amp,
)
from cdc_mm.errors import clear_errors, clear_run_errors
from cdc_mm.evaluation.functional import NumClusters, choose_num_clusters
from cdc_mm.experiments import (
    collect_results,
    find_paper_figures,
    plan_seeds,
    read_validation,
    results_table,
    run_chains,
    train_and_test,
    visible_devices,
    write_results,
)
from cdc_mm.features import (
    FeatureExtractor,
    Features,
    dataset_rows,
    iterate_outputs,
    known_outputs,
    labelled_rows,
    multi_hot,
    read_rows,
)
from cdc_mm.folders import ClusterInferencer, ImageClusterer, cluster_folder
from cdc_mm.models.loading import load_model

__all__ = [
    'ClusterInferencer',
    'FeatureExtractor',
    'Features',
    'ImageClusterer',
    'NumClusters',
    'build_runner',
    'check_backbone',
    'check_checkpoint',
    'choose_num_clusters',
    'claim_work_dir',
    'clear_errors',
    'clear_run_errors',
    'cluster_folder',
    'collect_results',
    'dataset_rows',
    'find_paper_figures',
    'init_cpu_distribution',
    'iterate_outputs',
    'known_outputs',
    'labelled_rows',
    'load_model',
    'lock_work_dir',
    'multi_hot',
    'plan_seeds',
    'prepare_test',
    'prepare_training',
    'read_backbone',
    'read_config',
    'read_rows',
    'read_run',
    'read_state_dict',
    'read_validation',
    'results_table',
    'run_chains',
    'set_dataloader_defaults',
    'train_and_test',
    'trust_checkpoints',
    'use_amp',
    'visible_devices',
    'write_results',
]
