from .curves import read_validation
from .leaderboard import plan_leaderboard, run_leaderboard
from .leaderboard_table import write_leaderboard
from .plan import StageRun, plan_seeds
from .results import (
    collect_results,
    find_paper_figures,
    results_table,
    seed_agreement,
    select_run,
    write_results,
)
from .seeds import run_chains, train_and_test, visible_devices

__all__ = [
    'StageRun',
    'collect_results',
    'find_paper_figures',
    'plan_leaderboard',
    'plan_seeds',
    'read_validation',
    'results_table',
    'run_chains',
    'run_leaderboard',
    'seed_agreement',
    'select_run',
    'train_and_test',
    'visible_devices',
    'write_leaderboard',
    'write_results',
]
