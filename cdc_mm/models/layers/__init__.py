from .cluster_targets import ClusterTargets
from .feature_clusters import FeatureClusters, cluster_centers, concentration
from .momentum_encoder import MomentumEncoder
from .principal_components import PrincipalComponents
from .projection import project_rows
from .queue import Queue
from .split_batch_norm import SplitBatchNorm2d
from .standardize import Standardize

__all__ = [
    'ClusterTargets',
    'FeatureClusters',
    'MomentumEncoder',
    'PrincipalComponents',
    'Queue',
    'SplitBatchNorm2d',
    'Standardize',
    'cluster_centers',
    'concentration',
    'project_rows',
]
