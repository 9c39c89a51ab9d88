from pathlib import Path
from typing import List, Optional

import mmengine
import numpy as np

from cdc_mm.atomic import dump_atomically, write_atomically
from cdc_mm.checkpoints import newest_checkpoint
from cdc_mm.console import say
from cdc_mm.evaluation.functional import (
    agreement,
    cluster_stability,
    short_name,
    shown_metrics,
    summarize_runs,
)
from cdc_mm.shipped import find_shipped
from cdc_mm.tables import markdown_table, mean_std, plus_minus

from .plan import SELECT_BY


def collect_results(chains: List[list]) -> List[dict]:
    """Summarise the finished runs, stage by stage.

    Args:
        chains (list): For each seed, its runs in order, see :func:`plan_seeds`.

    Returns:
        list: For each stage with a finished run ``stage``, ``config``, ``seeds``, ``metrics`` (see
        :func:`summarize_runs`), ``agreement`` (see :func:`seed_agreement`) and ``paper`` (see
        :func:`find_paper_figures`).
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
                    agreement=seed_agreement(finished),
                    paper=find_paper_figures(runs[0].config),
                )
            )
    return stages


def seed_agreement(runs: list) -> Optional[dict]:
    """How far the clusters that runs predict for the same images agree; no labels are needed.

    Args:
        runs (list): Finished runs of a stage.

    Returns:
        dict: ``mean`` adjusted Rand index over all pairs; in the order of the runs ``with_others``,
        the mean with each of the others (see :func:`agreement`), and ``cluster_stability``, that of
        each of a run's clusters among the others' (see :func:`cluster_stability`). None of fewer
        than two runs, of such that predicted no clusters, or of other images.
    """
    files = [run.predictions_file for run in runs]
    if len(files) < 2 or not all(file.is_file() for file in files):
        return None
    images, clusters = [], []
    for file in files:
        with np.load(file, allow_pickle=False) as kept:
            images.append(kept['image'])
            clusters.append(kept['cluster'])
    if not all(np.array_equal(images[0], other) for other in images):
        say(
            f'{runs[0].stage}: the seeds were tested on other images, so their agreement is unknown'
        )
        return None
    # An image that cannot be read has no cluster.
    readable = (np.array(clusters) >= 0).all(axis=0)
    clusters = [numbers[readable] for numbers in clusters]
    if not readable.any():
        return None
    count = max(numbers.max() for numbers in clusters) + 1
    with_others = agreement(clusters)
    return dict(
        mean=float(with_others.mean()),
        with_others=with_others.tolist(),
        cluster_stability=[
            cluster_stability(numbers, clusters[:i] + clusters[i + 1 :], count).tolist()
            for i, numbers in enumerate(clusters)
        ],
    )


def select_run(runs: list) -> dict:
    """The run with the best figure that needs no labels.

    Args:
        runs (list): Finished runs of a stage.

    Returns:
        dict: ``seed``, ``by`` (name of the figure), ``value`` and ``checkpoint``.

    Raises:
        ValueError: If a run has no such figure.
    """
    values = []
    for run in runs:
        value = mmengine.load(run.metrics_file).get(SELECT_BY)
        if value is None:
            raise ValueError(
                f'{run.metrics_file} has no {SELECT_BY}, as it was written by an older version. '
                'Delete it and give the command again: that tests the run once more'
            )
        values.append(value)
    best = int(np.argmax(values))
    checkpoint = newest_checkpoint(runs[best].folder)
    return dict(seed=runs[best].seed, by=SELECT_BY, value=values[best], checkpoint=checkpoint)


def write_results(chains: List[list], select: bool = False) -> str:
    """Write ``results.md`` and ``results.json`` into the folder of the last stage.

    Args:
        chains (list): For each seed, its runs in order, see :func:`plan_seeds`.
        select (bool): Whether to name the best run of the last stage, see :func:`select_run`.
            Defaults to False.

    Returns:
        str: The Markdown, empty if no run has finished.
    """
    stages = collect_results(chains)
    if not stages:
        return ''
    folder = chains[0][-1].folder.parent
    text, content = results_table(stages), dict(std='sample (n - 1)', stages=stages)
    finished = [chain[-1] for chain in chains if chain[-1].metrics_file.is_file()]
    if select and finished:
        content['selected'] = chosen = select_run(finished)
        text += (
            f'\nSelected, without labels, by {short_name(chosen["by"])} ({chosen["value"]:.1f}): '
            f'seed {chosen["seed"]}, {chosen["checkpoint"]}\n'
        )
    dump_atomically(folder / 'results.json', content, indent=2)
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
            _cell(metrics[column]['values']) if column in metrics else '' for column in columns
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
        found = stage.get('agreement')
        if found:
            by_seed = zip(stage['seeds'], found['with_others'], strict=True)
            lines += [
                '',
                f'{stage["stage"]}: agreement of seeds (ARI) {found["mean"]:.2f}; with the others, '
                f'seed {", ".join(f"{seed}: {value:.2f}" for seed, value in by_seed)}.',
            ]
    return '\n'.join(lines) + '\n'


def _cell(values: List[float]) -> str:
    shares = all(isinstance(value, float) and abs(value) <= 1 for value in values)
    return mean_std(values, digits=2 if shares else 1)
