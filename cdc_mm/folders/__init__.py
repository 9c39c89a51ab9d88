from .assignments import Assignments, apply_names, read_csv, top_two
from .copies import Linked, link_clusters
from .encoders import ENCODERS, find_encoder
from .image_clusterer import ImageClusterer, default_store_dir, size_for
from .projection import project_2d
from .report import Written, write_report
from .survey import Survey, survey

__all__ = [
    'ENCODERS',
    'Assignments',
    'ImageClusterer',
    'Linked',
    'Survey',
    'Written',
    'apply_names',
    'default_store_dir',
    'find_encoder',
    'link_clusters',
    'project_2d',
    'read_csv',
    'size_for',
    'survey',
    'top_two',
    'write_report',
]
