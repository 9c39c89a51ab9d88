from pathlib import Path
from typing import List, Optional

import mmengine

from cdc_mm.atomic import dump_atomically, write_atomically
from cdc_mm.evaluation.functional import summarize_runs
from cdc_mm.tables import markdown_table, mean_std, plus_minus

_MEASURED_WITH_LABELS = ('acc', 'nmi', 'ari', 'many_to_one_acc')


def metrics_in_words(metrics: dict) -> str:
    """The metrics that a table would show, on one line."""
    return ', '.join(f'{_short(name)} {metrics[name]:.1f}' for name in _columns([metrics]))


def collect_results(chains: List[list]) -> List[dict]:
    """Summarise the finished runs, stage by stage.

    Args:
        chains (list): For each seed, its runs in order, see :func:`plan_seeds`.

    Returns:
        list: For each stage with a finished run ``stage``, ``config``, ``seeds``, ``metrics`` (see
        :func:`summarize_runs`) and ``paper`` (see :func:`find_paper_figures`).
    """
    stages = []
    for runs in zip(*chains, strict=True):
        finished = [run for run in runs if run.metrics_file.is_file()]
        if finished:
            stages.append(
                dict(
                    stage=runs[0].stage,
                    config=runs[0].config,
                    seeds=[run.seed for run in finished],
                    metrics=summarize_runs([mmengine.load(run.metrics_file) for run in finished]),
                    paper=find_paper_figures(runs[0].config),
                )
            )
    return stages


def write_results(chains: List[list]) -> str:
    """Write ``results.md`` and ``results.json`` into the folder of the last stage.

    Args:
        chains (list): For each seed, its runs in order, see :func:`plan_seeds`.

    Returns:
        str: The Markdown, empty if no run has finished.
    """
    stages = collect_results(chains)
    if not stages:
        return ''
    folder = chains[0][-1].folder.parent
    text = results_table(stages)
    dump_atomically(folder / 'results.json', dict(std='sample (n - 1)', stages=stages), indent=2)
    write_atomically(folder / 'results.md', text)
    return text


def find_paper_figures(config: str) -> Optional[dict]:
    """The entry of a config in the nearest ``paper.yml`` above it.

    Args:
        config (str): Path of a config.

    Returns:
        dict: ``source`` and, by metric, mean and standard deviation; None without an entry.
    """
    path = Path(config).resolve()
    for folder in path.parents:
        if (folder / 'paper.yml').is_file():
            return mmengine.load(folder / 'paper.yml').get(path.relative_to(folder).as_posix())
    return None


def results_table(stages: List[dict]) -> str:
    """Markdown of the stages: mean +- sample standard deviation, the paper's figures below.

    Args:
        stages (list): See :func:`collect_results`.

    Returns:
        str: A table and notes.
    """
    columns = _columns([stage['metrics'] for stage in stages])
    rows = []
    for stage in stages:
        metrics, paper = stage['metrics'], stage['paper']
        cells = [
            mean_std(metrics[column]['values']) if column in metrics else '' for column in columns
        ]
        rows.append([stage['stage'], len(stage['seeds']), *cells])
        if paper:
            figures = [paper.get(column.rpartition('/')[2]) for column in columns]
            cells = [plus_minus(*figure) if figure else '' for figure in figures]
            rows.append([f"the paper's: {paper['source']}", paper.get('runs', ''), *cells])
    lines = [markdown_table(['', 'seeds', *map(_short, columns)], rows)]
    lines += ['', 'Mean +- sample standard deviation (n - 1) over seeds, last checkpoint.']
    for stage in stages:
        first = _columns([stage['metrics']])[0]
        values = stage['metrics'][first]['values']
        count = stage['metrics'].get('clustering/num_samples')
        lines += [
            '',
            f'{stage["stage"]}: {_short(first)} by seed '
            + ', '.join(f'{s}: {v:.1f}' for s, v in zip(stage['seeds'], values, strict=True))
            + (f'; {count["values"][0]} test images' if count else '')
            + '.',
        ]
    return '\n'.join(lines) + '\n'


def _columns(metrics: List[dict]) -> List[str]:
    """What a table shows of each stage: agreement with the labels, or without any everything."""
    columns = {}
    for names in metrics:
        with_labels = [n for n in names if n.rpartition('/')[2] in _MEASURED_WITH_LABELS]
        shown = with_labels or [n for n in names if not n.endswith(('num_samples', '_sizes'))]
        columns.update(dict.fromkeys(shown))
    return list(columns)


def _short(name: str) -> str:
    name = name.rpartition('/')[2]
    return name.upper() if len(name) == 3 else name
