from .clustering import (
    cluster_accuracy,
    label_metrics,
    many_to_one_accuracy,
    match_clusters,
    size_metrics,
)
from .summary import summarize_runs

__all__ = [
    'cluster_accuracy',
    'label_metrics',
    'many_to_one_accuracy',
    'match_clusters',
    'size_metrics',
    'summarize_runs',
]
