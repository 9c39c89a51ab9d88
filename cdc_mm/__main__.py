"""``python -m cdc_mm`` says what there is; with the name of a tool it runs it."""

import os
import runpy
import sys
from pathlib import Path
from typing import List

import cdc_mm
from cdc_mm.shipped import find_tool, shipped_root, shipped_tools

_USAGE = """usage: python -m cdc_mm [--version | TOOL [arguments of the tool]]

cdc_mm {version} clusters images without labels.

tools, each of which says more with --help:
  {tools}
configs, found under these names from any folder; they lie in {root}:
  {configs}

  python -m cdc_mm cluster PHOTOS --num-clusters 12 --out OUT    clusters a folder of images
  python -m cdc_mm train configs/cdc_digits.py        trains on handwritten digits
  python -m cdc_mm test configs/cdc_digits.py CKPT    evaluates the checkpoint
The commands cdc-cluster, cdc-train, cdc-test and cdc-run-seeds run the tools of these names."""


def run_tool(name: str, arguments: List[str]) -> None:
    """Run a tool as if its file had been called."""
    path = find_tool(name)
    if path.suffix == '.sh':
        # The scripts call `python`.
        folders = [str(Path(sys.executable).parent), os.environ.get('PATH', os.defpath)]
        env = {**os.environ, 'PATH': os.pathsep.join(folders)}
        os.execvpe('bash', ['bash', str(path), *arguments], env)
    else:
        sys.argv = [str(path), *arguments]
        sys.path.insert(0, str(path.parent))  # for the modules that tools share
        runpy.run_path(str(path), run_name='__main__')


def usage() -> str:
    """What there is."""
    root = shipped_root()
    configs = sorted(
        path.relative_to(root).as_posix()
        for pattern in ('*.py', '*.yaml')
        for path in (root / 'configs').rglob(pattern)
        if not path.name.startswith('Base-') and '_base_' not in path.parts
    )
    return _USAGE.format(
        version=cdc_mm.__version__,
        tools=' '.join(shipped_tools()),
        root=root,
        configs='\n  '.join(configs),
    )


def main() -> None:
    """Entry of ``python -m cdc_mm``."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ('-h', '--help'):
        print(usage())
    elif arguments[0] == '--version':
        print(cdc_mm.__version__)
    else:
        try:
            find_tool(arguments[0])
        except ValueError as error:
            raise SystemExit(f'error: {error}') from None
        run_tool(arguments[0], arguments[1:])


def train() -> None:
    """Entry of ``cdc-train``."""
    run_tool('train', sys.argv[1:])


def test() -> None:
    """Entry of ``cdc-test``."""
    run_tool('test', sys.argv[1:])


def cluster() -> None:
    """Entry of ``cdc-cluster``."""
    run_tool('cluster', sys.argv[1:])


def run_seeds() -> None:
    """Entry of ``cdc-run-seeds``."""
    run_tool('run_seeds', sys.argv[1:])


if __name__ == '__main__':
    main()
