from typing import Dict, List

from cdc_mm.tables import markdown_table, mean_std

_METRICS = ('AP', 'AP50', 'AP75')


def summarize(label: str, runs: List[dict], paper: Dict) -> str:
    """Draw up the table of a transfer: the paper's rows, if there are any, and one for these runs.

    Args:
        label (str): What the backbone started from.
        runs (list[dict]): One dict for each run, with its ``seed`` and its ``metrics`` in percent,
            ``{'bbox': {'AP': ..., 'AP50': ..., 'AP75': ...}, ...}``.
        paper (dict): ``TABLE``, ``COLUMNS`` (``task/metric``) and ``ROWS``, or empty.

    Returns:
        str: Markdown. Several runs are given as mean +- sample standard deviation (n - 1).
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
        cells.append(mean_std(values))
    seeds = ', '.join(str(run['seed']) for run in runs)
    rows.append([label, *cells, f'{len(runs)} (seed {seeds})'])
    header = ['pretraining', *(column.replace('/', ' ') for column in columns), 'runs']
    return markdown_table(header, rows)
