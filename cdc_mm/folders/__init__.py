from .assignments import Assignments, apply_names, read_csv, top_two

__all__ = ['Assignments', 'apply_names', 'read_csv', 'top_two']
