"""Work of two sides, each in a process of its own, as its users have it."""

from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import List, Optional, Tuple

from processes import processes

from .measuring import Row, Settings, alternate, ratio


def side(name: str, settings: Settings) -> List[str]:
    """The command of a side of ``benchmarks/side.py``."""
    script = Path(__file__).parents[1] / 'side.py'
    return [str(script), name, *['--quick'] * settings.quick]


def compare_sides(
    what: str,
    names: Tuple[str, str],
    commands: Tuple[List[str], List[str]],
    package: str,
    settings: Settings,
    rounds: int,
    limit: float,
    images: Optional[int] = None,
    note: str = '',
) -> List[Row]:
    """Ours, with freed memory kept as where it runs, beside theirs as it is and with it kept.

    Args:
        what (str): What is measured.
        names (tuple): Candidate and reference in words.
        commands (tuple): Their scripts with arguments, without those that all scripts take.
        package (str): What the reference needs and an installation may lack.
        settings (Settings): How large and where.
        rounds (int): How often, in turn.
        limit (float): Of the ratio to theirs as it is.
        images (int, optional): How many go through in a round, to say how many a second.
        note (str): For both rows.
    """
    if find_spec(package) is None:
        return [Row(what, *names, None, note=f'skipped: {package} is not installed')]
    ours, theirs = (
        [*command, f'--threads={settings.threads}', f'--device={settings.device}']
        for command in commands
    )
    sides = dict(ours=[*ours, '--kept'], theirs=theirs, kept=[*theirs, '--kept'])
    with processes(sides) as works:
        seconds = alternate(works, settings.pick(rounds, 1))
        cpu = {key: process.cpu_seconds[1:] for key, process in works.items()}
    speed = {}
    for key, values in seconds.items():
        took = median(values)
        speed[key] = f'{images / took:,.3g} images/s' if images else f'{1000 * took:,.0f} ms'
    return [
        Row(
            what,
            f'{names[0]} ({speed["ours"]})',
            f'{names[1]}{more} ({speed[key]})',
            ratio(seconds['ours'], seconds[key]),
            None if settings.quick or key != 'theirs' else limit,
            f'{ratio(cpu["ours"], cpu[key]):.2f} in process time{", " * bool(note)}{note}',
        )
        for key, more in (('theirs', ''), ('kept', ', freed memory kept'))
    ]
