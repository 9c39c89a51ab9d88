from .metrics import ClusteringMetric

__all__ = ['ClusteringMetric']
