from .clustering import (
    cluster_accuracy,
    label_metrics,
    many_to_one_accuracy,
    match_clusters,
    size_metrics,
)

__all__ = [
    'cluster_accuracy',
    'label_metrics',
    'many_to_one_accuracy',
    'match_clusters',
    'size_metrics',
]
