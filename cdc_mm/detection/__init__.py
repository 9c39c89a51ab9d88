"""Transfer to object detection with detectron2 (Tables 4 and 5).

Only ``trainer`` and what it imports need detectron2: importing :mod:`cdc_mm` or this package works
without it.
"""

from .converter import convert_checkpoint, to_detectron2
from .results import summarize

__all__ = ['convert_checkpoint', 'summarize', 'to_detectron2']
