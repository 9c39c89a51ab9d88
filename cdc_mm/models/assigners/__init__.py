from .sinkhorn import sinkhorn_knopp
from .sinkhorn_assigner import SinkhornAssigner

__all__ = ['SinkhornAssigner', 'sinkhorn_knopp']
