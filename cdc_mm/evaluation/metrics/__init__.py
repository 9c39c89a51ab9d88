from .clustering_metric import ClusteringMetric
from .dump_clusters import DumpClusters
from .voc07_metric import VOC07Metric

__all__ = ['ClusteringMetric', 'DumpClusters', 'VOC07Metric']
