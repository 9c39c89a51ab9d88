from numbers import Number
from typing import List, Sequence

import numpy as np

_MEASURED_WITH_LABELS = ('acc', 'nmi', 'ari', 'many_to_one_acc')
# Without labels, how sure the clusters are.
_CERTAINTY = ('linear_cv', 'silhouette', 'head_agreement')


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


def shown_metrics(metrics: Sequence[dict]) -> List[str]:
    """Names of what a table shows of each: agreement with labels and how sure the clusters are.

    Without labels everything but lists and the number of images.

    Args:
        metrics (Sequence[dict]): Metrics by name, of one or several evaluations.
    """
    shown = {}
    for names in metrics:
        with_labels = [n for n in names if n.rpartition('/')[2] in _MEASURED_WITH_LABELS]
        if with_labels:
            chosen = with_labels + [n for n in names if n.rpartition('/')[2] in _CERTAINTY]
        else:
            left_out = ('num_samples', '_sizes', '_stability')
            chosen = [n for n in names if not n.endswith(left_out)]
        shown.update(dict.fromkeys(chosen))
    return list(shown)


def short_name(name: str) -> str:
    """The name of a metric without its prefix, abbreviations in capitals."""
    name = name.rpartition('/')[2]
    return name.upper() if len(name) == 3 else name


def metrics_in_words(metrics: dict) -> str:
    """The metrics that a table would show, and the number of images if it is known, on one line."""
    shown = [n for n in shown_metrics([metrics]) if isinstance(metrics[n], Number)]
    text = ', '.join(f'{short_name(name)} {_in_digits(metrics[name])}' for name in shown)
    counts = [metrics[name] for name in metrics if name.endswith('num_samples')]
    return text + (f' ({counts[0]} images)' if counts else '')


def _in_digits(value: Number) -> str:
    if isinstance(value, int):
        return str(value)
    return f'{value:.2f}' if abs(value) <= 1 else f'{value:.1f}'
