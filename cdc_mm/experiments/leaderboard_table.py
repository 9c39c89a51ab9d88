"""What a leaderboard found: Markdown, JSON and a picture."""

import io
import shlex
from typing import Dict, List

import mmengine
import numpy as np

from cdc_mm.atomic import dump_atomically, write_atomically
from cdc_mm.evaluation.functional import summarize_runs
from cdc_mm.tables import markdown_table, mean_std
from cdc_mm.visualization import draw_leaderboard

from .leaderboard import BoardRun, Leaderboard
from .methods import FIGURES, Method
from .results import seed_agreement

_KINDS = dict(
    clusterer='itself',
    pretext='k-means',
    estimator='scikit-learn',
    classifier='itself, from labels',
)
# Of images without labels.
_UNLABELLED = ('linear_cv', 'silhouette', 'size_entropy')


def collect_board(board: Leaderboard) -> List[dict]:
    """What is known of each method, the best first.

    Args:
        board (Leaderboard): See :func:`plan_leaderboard`.

    Returns:
        list: For each method with a result ``name``, ``title``, ``config``, ``pretext``, ``kind``,
        ``seeds``, ``metrics`` (see :func:`summarize_runs`), ``agreement`` (see
        :func:`seed_agreement`), ``device``, ``threads`` and ``quoted``.
    """
    entries = []
    for method in board.methods:
        runs = [_run_of(board, method, seed) for seed in range(board.seeds)]
        runs = [run for run in runs if run.finished]
        if not runs:
            continue
        results = [mmengine.load(run.metrics_file) for run in runs]
        entries.append(
            dict(
                name=method.name,
                title=method.title,
                config=method.config,
                estimator=method.estimator,
                pretext=method.pretext,
                kind=results[0]['kind'],
                seeds=[run.seed for run in runs],
                metrics=summarize_runs(results),
                agreement=seed_agreement(runs),
                devices=sorted({result['device'] for result in results}),
                quoted=method.quoted,
            )
        )
    by = 'acc' if board.data.images.labels is not None else 'linear_cv'
    return sorted(entries, key=lambda entry: -entry['metrics'][by]['mean'])


def write_leaderboard(board: Leaderboard, command: List[str]) -> str:
    """Write ``leaderboard.md``, ``.json`` and ``.png`` into the folder of a leaderboard.

    Args:
        board (Leaderboard): See :func:`plan_leaderboard`.
        command (list): The words of the command, for the record.

    Returns:
        str: The Markdown.
    """
    entries, failures = collect_board(board), collect_failures(board)
    text = board_markdown(board, entries, failures, shlex.join(command))
    file = board.out / 'leaderboard.json'
    content = mmengine.load(file)
    content.update(
        split=board.data.split,
        num_clusters=board.data.num_clusters,
        std='sample (n - 1)',
        results=entries,
        failed=failures,
        skipped=board.skipped,
        command=shlex.join(command),
    )
    dump_atomically(file, content, indent=2)
    write_atomically(board.out / 'leaderboard.md', text)
    if entries:
        picture = io.BytesIO()
        _draw(board, entries).savefig(picture, format='png')
        write_atomically(board.out / 'leaderboard.png', picture.getvalue())
    return text


def collect_failures(board: Leaderboard) -> Dict[str, str]:
    """Why runs without a result have failed, by method and seed."""
    failures = {}
    for method in board.methods:
        for seed in range(board.seeds):
            run = _run_of(board, method, seed)
            if not run.finished and run.failure_file.is_file():
                failures[str(run)] = mmengine.load(run.failure_file)['reason']
    return failures


def board_markdown(
    board: Leaderboard, entries: List[dict], failures: Dict[str, str], command: str
) -> str:
    """The page: a table, ACC by seed, what did not run, and how it was measured.

    Args:
        board (Leaderboard): The leaderboard.
        entries (list): See :func:`collect_board`.
        failures (dict): See :func:`collect_failures`.
        command (str): What to type.
    """
    title = f'# Leaderboard: {board.data.name}'
    if board.quick:
        title += ', quick (a quarter of the epochs: not the figures of the methods)'
    parts = [title, _how_measured(board, entries, command)]
    if entries:
        parts += [_table(board, entries), _by_seed(board, entries)]
    left_out = [[name, reason] for name, reason in (*failures.items(), *board.skipped.items())]
    if left_out:
        parts += ['## Not in the table', markdown_table(['', 'why'], left_out)]
    waiting = sum(not run.finished for run in board.runs) - len(failures)
    if waiting > 0:
        parts.append(f'{waiting} runs are not finished: the same command goes on.')
    return '\n\n'.join(parts) + '\n'


def _run_of(board: Leaderboard, method: Method, seed: int) -> BoardRun:
    folder = board.out / 'runs' / method.name / f'seed{seed}'
    return BoardRun(method.name, seed, method.config or '', None, folder, method)


def _how_measured(board: Leaderboard, entries: List[dict], command: str) -> str:
    devices = sorted({device for entry in entries for device in entry['devices']})
    loads = [load for entry in entries for load in entry['metrics']['load']['values']]
    threads = sorted({n for entry in entries for n in entry['metrics']['threads']['values']})
    taught = any(entry['kind'] == 'classifier' for entry in entries)
    lines = [
        f'`{command}`',
        '',
        f'{board.data.num_clusters} clusters, {board.data.split}; {_seeds(board)}; '
        'last checkpoint. Labels serve only to judge'
        + (' (but to train what the table says so of: an upper bound).' if taught else '.'),
    ]
    if entries:
        lines.append(
            f'Machine: {"; ".join(devices)}; {", ".join(map(str, threads))} thread a run; load of '
            f'the machine {np.mean(loads):.1f} on average when a run ended (its own is 1).'
        )
    if board.data.kind == 'lite0_rows':
        lines.append(
            'All methods see the same rows of EfficientNet-Lite0 (ImageNet-1k, with its labels), '
            'computed once; the seconds do not contain that.'
        )
    return '\n'.join(lines)


def _seeds(board: Leaderboard) -> str:
    return 'seed 0' if board.seeds == 1 else f'seeds 0 to {board.seeds - 1}'


def _table(board: Leaderboard, entries: List[dict]) -> str:
    labelled = board.data.images.labels is not None
    shown = list(FIGURES if labelled else _UNLABELLED)
    knn = labelled and any('knn' in entry['metrics'] for entry in entries)
    quoted = labelled and any(entry['quoted'] for entry in entries)
    header = ['method', 'clusters by', 'seeds', *(_head(name) for name in shown), 'agreement']
    header += ['kNN'] * knn + ['seconds', 'CPU s', 'MB']
    header += ['the paper, CIFAR-10: ACC / NMI / ARI'] * quoted
    rows = []
    for entry in entries:
        metrics = entry['metrics']
        row = [
            _titled(entry),
            _KINDS[entry['kind']],
            len(entry['seeds']),
            *(_cell(metrics, name) for name in shown),
            f'{entry["agreement"]["mean"]:.2f}' if entry['agreement'] else '',
        ]
        row += [_cell(metrics, 'knn')] * knn
        row += [
            _seconds(metrics, 'seconds'), _seconds(metrics, 'cpu_seconds'),
            f'{metrics["memory"]["mean"]:.0f}',
        ]  # fmt: skip
        row += [_quoted(entry['quoted'])] * quoted
        rows.append(row)
    notes = ['Mean +- sample standard deviation (n - 1) over seeds, percent.']
    notes.append(
        '"agreement" is the mean adjusted Rand index of the clusters of two seeds. Of methods that '
        'learn features only, k-means says the clusters (the best of 10 restarts, fitted on the '
        'training images).'
    )
    if knn:
        notes.append(
            '"kNN" is the top-1 accuracy of the 200 nearest training images (temperature 0.07), '
            'which uses their labels.'
        )
    notes.append(
        'Seconds are those of the training alone, without that of a method that it starts from; MB '
        "are the peak of the run's process, libraries included."
    )
    if quoted:
        notes.append(
            'The last column is quoted from Table 1 of the CDC paper: CIFAR-10, trained from '
            'scratch, not measured here and not comparable with the other columns.'
        )
    return markdown_table(header, rows) + '\n\n' + ' '.join(notes) + _picture(board)


def _picture(board: Leaderboard) -> str:
    return f'\n\n![{board.data.name}](leaderboard.png)'


def _by_seed(board: Leaderboard, entries: List[dict]) -> str:
    name = 'acc' if board.data.images.labels is not None else 'linear_cv'
    rows = []
    for entry in entries:
        found = dict(zip(entry['seeds'], entry['metrics'][name]['values'], strict=True))
        cells = [f'{found[seed]:.1f}' if seed in found else '' for seed in range(board.seeds)]
        rows.append([_titled(entry), *cells])
    header = [f'{_head(name)}, seed', *map(str, range(board.seeds))]
    return '## By seed\n\n' + markdown_table(header, rows)


def _draw(board: Leaderboard, entries: List[dict]):
    labelled = board.data.images.labels is not None
    panels, quoted = {}, {}
    for name in FIGURES if labelled else _UNLABELLED:
        head = f'{_head(name)} (%)' if labelled or name == 'linear_cv' else name
        panels[head] = {_titled(entry): entry['metrics'][name]['values'] for entry in entries}
        if board.data.name == 'cifar10':
            quoted[head] = {
                _titled(entry): entry['quoted'][name]
                for entry in entries
                if name in entry['quoted']
            }
    title = f'{board.data.name}: {board.data.split}; mean (line) and single seeds (dots)'
    if board.quick:
        title += '; quick: a quarter of the epochs'
    if any(quoted.values()):
        title += '\nhollow: quoted from the CDC paper, from scratch'
    return draw_leaderboard(panels, title, quoted, percent=labelled)


def _titled(entry: dict) -> str:
    return entry['title'] + (f' (from {entry["pretext"]})' if entry['pretext'] else '')


def _head(name: str) -> str:
    return name.upper() if name in FIGURES else name


def _cell(metrics: dict, name: str) -> str:
    if name not in metrics:
        return ''
    return mean_std(metrics[name]['values'], digits=2 if name in _UNLABELLED[1:] else 1)


def _seconds(metrics: dict, name: str) -> str:
    mean = metrics[name]['mean']
    return f'{mean:.1f}' if mean < 10 else f'{mean:.0f}'


def _quoted(figures: dict) -> str:
    if not figures:
        return ''
    return ' / '.join(f'{figures[name]:g}' if name in figures else '-' for name in FIGURES)
