from .metrics import ClusteringMetric, DumpClusters

__all__ = ['ClusteringMetric', 'DumpClusters']
