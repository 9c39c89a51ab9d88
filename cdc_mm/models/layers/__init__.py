from .cluster_targets import ClusterTargets
from .momentum_encoder import MomentumEncoder
from .principal_components import PrincipalComponents
from .projection import project_rows
from .queue import Queue
from .split_batch_norm import SplitBatchNorm2d
from .standardize import Standardize

__all__ = [
    'ClusterTargets',
    'MomentumEncoder',
    'PrincipalComponents',
    'Queue',
    'SplitBatchNorm2d',
    'Standardize',
    'project_rows',
]
