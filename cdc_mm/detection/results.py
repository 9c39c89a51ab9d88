from typing import Dict, List

import numpy as np

_METRICS = ('AP', 'AP50', 'AP75')


def summarize(label: str, runs: List[dict], paper: Dict) -> str:
    """Draw up the table of a transfer: the paper's rows, if there are any, and one for these runs.

    Args:
        label (str): What the backbone started from.
        runs (list[dict]): One dict for each run, with its ``seed`` and its ``metrics`` in percent,
            ``{'bbox': {'AP': ..., 'AP50': ..., 'AP75': ...}, ...}``.
        paper (dict): ``TABLE``, ``COLUMNS`` (``task/metric``) and ``ROWS``, or empty.

    Returns:
        str: Markdown. Several runs are given as mean +- standard deviation.
    """
    columns = paper.get('COLUMNS') or [
        f'{task}/{metric}' for task in runs[0]['metrics'] for metric in _METRICS
    ]
    rows = [
        [f'{method} ({paper["TABLE"]} of the paper)', *(f'{value:.1f}' for value in values), '']
        for method, values in paper.get('ROWS', {}).items()
    ]
    cells = []
    for column in columns:
        task, metric = column.split('/')
        values = [run['metrics'][task][metric] for run in runs]
        cells.append(
            f'{np.mean(values):.1f}' + (f' +- {np.std(values):.1f}' if len(values) > 1 else '')
        )
    seeds = ', '.join(str(run['seed']) for run in runs)
    rows.append([label, *cells, f'{len(runs)} (seed {seeds})'])
    header = ['pretraining', *(column.replace('/', ' ') for column in columns), 'runs']
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)
