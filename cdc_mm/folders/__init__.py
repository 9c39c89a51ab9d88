from .assignments import Assignments, apply_names, read_csv, top_two
from .copies import Linked, link_clusters
from .projection import project_2d
from .report import Written, write_report

__all__ = [
    'Assignments',
    'Linked',
    'Written',
    'apply_names',
    'link_clusters',
    'project_2d',
    'read_csv',
    'top_two',
    'write_report',
]
