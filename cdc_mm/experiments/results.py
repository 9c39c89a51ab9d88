from pathlib import Path
from typing import List, Optional

import mmengine

from cdc_mm.atomic import dump_atomically, write_atomically
from cdc_mm.evaluation.functional import short_name, shown_metrics, summarize_runs
from cdc_mm.shipped import find_shipped
from cdc_mm.tables import markdown_table, mean_std, plus_minus


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
    path = Path(find_shipped(config)).resolve()
    for folder in path.parents:
        if (folder / 'paper.yml').is_file():
            return mmengine.load(folder / 'paper.yml').get(path.relative_to(folder).as_posix())
    return None


def results_table(stages: List[dict]) -> str:
    """Markdown of the stages: mean +- sample standard deviation, the paper's figures below.

    Args:
        stages (list): See :func:`collect_results`. A stage without metrics was only trained.

    Returns:
        str: A table and notes.
    """
    columns = shown_metrics([stage['metrics'] for stage in stages])
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
    lines = [markdown_table(['', 'seeds', *map(short_name, columns)], rows)]
    lines += ['', 'Mean +- sample standard deviation (n - 1) over seeds, last checkpoint.']
    for stage in stages:
        first = next(iter(shown_metrics([stage['metrics']])), None)
        if first is None:
            lines += ['', f'{stage["stage"]}: trained, not tested.']
            continue
        values = stage['metrics'][first]['values']
        count = stage['metrics'].get('clustering/num_samples')
        lines += [
            '',
            f'{stage["stage"]}: {short_name(first)} by seed '
            + ', '.join(f'{s}: {v:.1f}' for s, v in zip(stage['seeds'], values, strict=True))
            + (f'; {count["values"][0]} test images' if count else '')
            + '.',
        ]
    return '\n'.join(lines) + '\n'
