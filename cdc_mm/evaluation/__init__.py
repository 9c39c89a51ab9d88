from .metrics import ClusteringMetric, DumpClusters, VOC07Metric

__all__ = ['ClusteringMetric', 'DumpClusters', 'VOC07Metric']
