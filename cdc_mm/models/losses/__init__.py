from .cdc_loss import CDCLoss
from .functional import (
    cluster_cross_entropy,
    in_batch_info_nce,
    info_nce,
    max_confidence,
    self_label_cross_entropy,
    swapped_prediction,
)
from .scan_loss import SCANLoss
from .self_label_loss import SelfLabelLoss
from .student_t import student_t_scores, target_distribution
from .swapped_prediction_loss import SwappedPredictionLoss
from .temi_loss import temi_loss

__all__ = [
    'CDCLoss',
    'SCANLoss',
    'SelfLabelLoss',
    'SwappedPredictionLoss',
    'cluster_cross_entropy',
    'in_batch_info_nce',
    'info_nce',
    'max_confidence',
    'self_label_cross_entropy',
    'student_t_scores',
    'swapped_prediction',
    'target_distribution',
    'temi_loss',
]
