from .cdc_loss import CDCLoss
from .functional import cdc_loss, cluster_cross_entropy, info_nce

__all__ = ['CDCLoss', 'cdc_loss', 'cluster_cross_entropy', 'info_nce']
