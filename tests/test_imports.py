"""The rooms of the package: who may import whom (docs/architecture.md)."""

import ast
import subprocess
import sys
from pathlib import Path

import cdc_mm

ROOT = Path(cdc_mm.__file__).parent
# From the top down: a room imports rooms below it, never one above or beside it.
ROOMS = (
    'apis',
    'folders',
    'experiments',
    'detection',
    'engine',
    'evaluation',
    'features',
    'visualization',
    'datasets',
    'models',
    'checkpoints',
)
# The package and its command line are above all rooms.
TOP = ('__init__', '__main__')
# Other modules at the root are tools that every room may use; they import no room.
TOOLS = tuple(path.stem for path in ROOT.glob('*.py') if path.stem not in TOP)


def imported(path: Path) -> set:
    """The rooms and root modules of cdc_mm that a file imports, wherever in it."""
    package = ['cdc_mm', *path.relative_to(ROOT).with_suffix('').parts[:-1]]
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = '.'.join([*base, *(node.module.split('.') if node.module else [])])
            names.add(module)
            if module == 'cdc_mm':
                names |= {f'cdc_mm.{alias.name}' for alias in node.names}
    return {name.split('.')[1] for name in names if name.startswith('cdc_mm.')}


def test_every_module_lives_in_a_room():
    folders = {path.parent.name for path in ROOT.glob('*/*.py')}
    assert folders == set(ROOMS)


def test_imports_go_downwards():
    upwards = []
    for path in ROOT.rglob('*.py'):
        room = path.relative_to(ROOT).parts[0].removesuffix('.py')
        if room in TOP:
            continue
        below = () if room in TOOLS else ROOMS[ROOMS.index(room) :]
        allowed = {*below, *TOOLS}
        upwards += [f'{path.relative_to(ROOT)} imports {name}' for name in imported(path) - allowed]
    assert not upwards, '\n'.join(upwards)


def test_every_room_can_be_the_first_to_be_imported():
    """A circle would show as an ImportError that depends on the order."""
    code = 'import importlib, sys; importlib.import_module("cdc_mm." + sys.argv[1])'
    for room in ('checkpoints', 'experiments'):
        subprocess.run([sys.executable, '-c', code, room], check=True, cwd=ROOT.parent)
