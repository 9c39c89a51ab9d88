from .assignments import Assignments, apply_names, read_csv, top_two
from .clustering import cluster_folder
from .copies import Linked, link_clusters
from .encoders import ENCODERS, find_encoder
from .image_clusterer import ImageClusterer, default_store_dir, size_for
from .inferencer import ClusterInferencer
from .model_report import report_model
from .projection import project_2d
from .report import Written, write_report
from .results import assignments_of, find_outliers, write_page
from .survey import Survey, survey

__all__ = [
    'ENCODERS',
    'Assignments',
    'ClusterInferencer',
    'ImageClusterer',
    'Linked',
    'Survey',
    'Written',
    'apply_names',
    'assignments_of',
    'cluster_folder',
    'default_store_dir',
    'find_encoder',
    'find_outliers',
    'link_clusters',
    'project_2d',
    'read_csv',
    'report_model',
    'size_for',
    'survey',
    'top_two',
    'write_page',
    'write_report',
]
