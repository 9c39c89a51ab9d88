import json
from pathlib import Path
from typing import Dict, Sequence, Tuple


def read_validation(work_dir: str, metrics: Sequence[str]) -> Dict[str, Tuple[list, list]]:
    """The metrics of validation over the training that a work dir holds.

    Where a training was resumed or begun anew, what the later log starts from replaces the
    earlier's.

    Args:
        work_dir (str): Work dir of a training.
        metrics (Sequence[str]): Their names, without prefix (``acc``).

    Returns:
        dict: By name the epochs (iterations in a training by iterations) and the values.

    Raises:
        ValueError: If the work dir lacks one of the metrics.
    """
    points: Dict[int, dict] = {}
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        lines = [
            {name.rpartition('/')[2]: value for name, value in line.items()}
            for line in lines
            if not line.keys() & {'epoch', 'iter'}  # those are of training
        ]
        if lines:
            points = {step: old for step, old in points.items() if step < lines[0]['step']}
            points.update((line['step'], line) for line in lines)
    curves = {}
    for metric in metrics:
        steps = [step for step, line in points.items() if metric in line]
        if not steps:
            known = {name for line in points.values() for name in line} - {'step'}
            raise ValueError(
                f'{work_dir} has no validation with {metric}; '
                + (f'it has {", ".join(sorted(known))}' if known else 'it has none at all')
            )
        curves[metric] = (steps, [points[step][metric] for step in steps])
    return curves
