from .agglomerate_hook import AgglomerateHook
from .broadcast_bn_hook import BroadcastBNHook
from .collapse_watch_hook import CollapseWatchHook
from .consensus_hook import ConsensusHook
from .contact_sheet_hook import ContactSheetHook
from .dec_hook import DECHook
from .device_info_hook import DeviceInfoHook
from .exact_resume_hook import ExactResumeHook
from .faulty_images_hook import FaultyImagesHook
from .feature_clusters_hook import FeatureClustersHook
from .fit_rows_hook import FitRowsHook
from .frozen_backbone_check_hook import FrozenBackboneCheckHook
from .knn_hook import KNNHook
from .norm_eval_hook import NormEvalHook
from .picture_hook import PictureHook
from .prepare_clusterer_hook import PrepareClustererHook
from .pretrained_backbone_hook import PretrainedBackboneHook, check_pretrained_backbone
from .progress_hook import ProgressHook
from .rank_watch_hook import RankWatchHook
from .recluster_hook import ReclusterHook
from .safe_checkpoint_hook import SafeCheckpointHook
from .self_label_hook import SelfLabelHook

__all__ = [
    'AgglomerateHook',
    'BroadcastBNHook',
    'CollapseWatchHook',
    'ConsensusHook',
    'ContactSheetHook',
    'DECHook',
    'DeviceInfoHook',
    'ExactResumeHook',
    'FaultyImagesHook',
    'FeatureClustersHook',
    'FitRowsHook',
    'FrozenBackboneCheckHook',
    'KNNHook',
    'NormEvalHook',
    'PictureHook',
    'PrepareClustererHook',
    'PretrainedBackboneHook',
    'ProgressHook',
    'RankWatchHook',
    'ReclusterHook',
    'SafeCheckpointHook',
    'SelfLabelHook',
    'check_pretrained_backbone',
]
