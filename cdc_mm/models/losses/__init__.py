from .cdc_loss import CDCLoss
from .functional import (
    cluster_cross_entropy,
    in_batch_info_nce,
    info_nce,
    max_confidence,
    self_label_cross_entropy,
)
from .scan_loss import SCANLoss
from .self_label_loss import SelfLabelLoss

__all__ = [
    'CDCLoss',
    'SCANLoss',
    'SelfLabelLoss',
    'cluster_cross_entropy',
    'in_batch_info_nce',
    'info_nce',
    'max_confidence',
    'self_label_cross_entropy',
]
