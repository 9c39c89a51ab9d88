"""Work of two sides, each in a process of its own, as its users have it."""

from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import List, Optional, Tuple

from processes import processes

from .measuring import Row, Settings, alternate, ratio

#: What a side of ``benchmarks/side.py`` needs and an installation may lack.
PACKAGES = dict(lightly='lightly', pot='ot')


def compare_sides(
    what: str,
    names: Tuple[str, str],
    sides: Tuple[str, str],
    settings: Settings,
    rounds: int,
    limit: Optional[float] = None,
    note: str = '',
) -> List[Row]:
    """Ours, with freed memory kept as where it runs, beside theirs as it is and with it kept.

    Args:
        what (str): What is measured.
        names (tuple): Candidate and reference in words.
        sides (tuple): And by the names of ``benchmarks/side.py``.
        settings (Settings): How large and where.
        rounds (int): How often, in turn.
        limit (float, optional): Of the ratio to theirs as it is.
        note (str): For both rows.
    """
    ours, theirs = sides
    package = PACKAGES.get(theirs)
    if package and find_spec(package) is None:
        return [Row(what, *names, None, note=f'skipped: {package} is not installed')]
    options = [f'--threads={settings.threads}', f'--device={settings.device}']
    options += ['--quick'] * settings.quick
    commands = dict(ours=[ours, '--kept'], theirs=[theirs], kept=[theirs, '--kept'])
    script = str(Path(__file__).parents[1] / 'side.py')
    with processes({key: [script, *by, *options] for key, by in commands.items()}) as works:
        seconds = alternate(works, settings.pick(rounds, 1))
        cpu = {key: process.cpu_seconds[1:] for key, process in works.items()}
    took = {key: f'{1000 * median(values):,.0f} ms' for key, values in seconds.items()}
    return [
        Row(
            what,
            f'{names[0]} ({took["ours"]})',
            f'{names[1]}{more} ({took[key]})',
            ratio(seconds['ours'], seconds[key]),
            None if settings.quick or key != 'theirs' else limit,
            f'{ratio(cpu["ours"], cpu[key]):.2f} in process time{", " * bool(note)}{note}',
        )
        for key, more in (('theirs', ''), ('kept', ', freed memory kept'))
    ]
