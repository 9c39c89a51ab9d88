from .assignments import Assignments, apply_names, read_csv, top_two
from .report import Written, write_report

__all__ = ['Assignments', 'Written', 'apply_names', 'read_csv', 'top_two', 'write_report']
