from .cluster_targets import ClusterTargets
from .momentum_encoder import MomentumEncoder
from .projection import project_rows
from .queue import Queue
from .split_batch_norm import SplitBatchNorm2d

__all__ = ['ClusterTargets', 'MomentumEncoder', 'Queue', 'SplitBatchNorm2d', 'project_rows']
