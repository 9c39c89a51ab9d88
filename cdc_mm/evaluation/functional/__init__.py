from .agglomerative import agglomerate, nearest_groups
from .average_precision import (
    class_average_precisions,
    interpolated_average_precision,
    per_image_average_precision,
)
from .certainty import agreement, cluster_stability, linear_consistency, silhouette
from .choose_k import (
    SURENESS,
    NumClusters,
    check_num_clusters_range,
    choose_num_clusters,
)
from .clustering import (
    align_clusters,
    cluster_accuracy,
    label_metrics,
    many_to_one_accuracy,
    match_clusters,
    size_metrics,
)
from .consensus import consensus
from .kmeans import count_distinct, kmeans_clusters, unit_rows
from .knn import knn_accuracy, knn_scores, vote_accuracy
from .linear_svm import low_shot_rows, svm_scores
from .similarity import alignment, category_similarity, pair_similarity, uniformity
from .summary import metrics_in_words, short_name, shown_metrics, summarize_runs

__all__ = [
    'SURENESS',
    'NumClusters',
    'agglomerate',
    'agreement',
    'align_clusters',
    'alignment',
    'category_similarity',
    'check_num_clusters_range',
    'choose_num_clusters',
    'class_average_precisions',
    'cluster_accuracy',
    'cluster_stability',
    'consensus',
    'count_distinct',
    'interpolated_average_precision',
    'kmeans_clusters',
    'knn_accuracy',
    'knn_scores',
    'label_metrics',
    'linear_consistency',
    'low_shot_rows',
    'many_to_one_accuracy',
    'match_clusters',
    'metrics_in_words',
    'nearest_groups',
    'pair_similarity',
    'per_image_average_precision',
    'short_name',
    'shown_metrics',
    'silhouette',
    'size_metrics',
    'summarize_runs',
    'svm_scores',
    'uniformity',
    'unit_rows',
    'vote_accuracy',
]
