from .clustering_metric import ClusteringMetric
from .dump_clusters import DumpClusters

__all__ = ['ClusteringMetric', 'DumpClusters']
