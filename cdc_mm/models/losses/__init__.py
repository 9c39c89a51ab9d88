from .adc_loss import association
from .cdc_loss import CDCLoss
from .contrastive_clustering_loss import cluster_contrast, instance_contrast, nt_xent
from .dac_loss import pairwise_decisions
from .functional import (
    cluster_cross_entropy,
    in_batch_info_nce,
    info_nce,
    max_confidence,
    self_label_cross_entropy,
    swapped_prediction,
)
from .iic_loss import mutual_information
from .jule_loss import cluster_triplets
from .propos_loss import positive_alignment, prototype_scattering
from .proto_nce import proto_nce
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
    'association',
    'cluster_contrast',
    'cluster_cross_entropy',
    'cluster_triplets',
    'in_batch_info_nce',
    'info_nce',
    'instance_contrast',
    'max_confidence',
    'mutual_information',
    'nt_xent',
    'pairwise_decisions',
    'positive_alignment',
    'proto_nce',
    'prototype_scattering',
    'self_label_cross_entropy',
    'student_t_scores',
    'swapped_prediction',
    'target_distribution',
    'temi_loss',
]
