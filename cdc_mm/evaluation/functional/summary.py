from numbers import Number
from typing import List

import numpy as np


def summarize_runs(runs: List[dict]) -> dict:
    """Mean and sample standard deviation (n - 1) of each metric over runs.

    Args:
        runs (list): Metrics of each run by name. What is no number is left out.

    Returns:
        dict: By name, for the metrics that all runs have: ``mean``, ``std`` (None for one run) and
        ``values`` in the order of the runs.
    """
    summary = {}
    for name in runs[0]:
        values = [run.get(name) for run in runs]
        if all(isinstance(value, Number) for value in values):
            std = float(np.std(values, ddof=1)) if len(values) > 1 else None
            summary[name] = dict(mean=float(np.mean(values)), std=std, values=values)
    return summary
