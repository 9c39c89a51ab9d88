from .clustering import (
    cluster_accuracy,
    label_metrics,
    many_to_one_accuracy,
    match_clusters,
    size_metrics,
)
from .similarity import alignment, category_similarity, pair_similarity, uniformity
from .summary import summarize_runs

__all__ = [
    'alignment',
    'category_similarity',
    'cluster_accuracy',
    'label_metrics',
    'many_to_one_accuracy',
    'match_clusters',
    'pair_similarity',
    'size_metrics',
    'summarize_runs',
    'uniformity',
]
