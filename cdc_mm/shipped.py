"""Where configs and tools are: beside the package in a checkout, inside it in a wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped_root() -> Path:
    """The folder that holds ``configs`` and ``tools``."""
    inside = _PACKAGE / '_shipped'  # setup.py puts them there
    return inside if inside.is_dir() else _PACKAGE.parent


def find_shipped(filename: str) -> str:
    """A file as named, or, if there is none, the one of that name that comes with this package.

    Args:
        filename (str): Path, ``configs/cdc_digits.py`` say.

    Returns:
        str: Where the file is; ``filename`` itself if it is nowhere.
    """
    shipped = shipped_root() / filename
    return str(shipped) if not Path(filename).exists() and shipped.is_file() else filename


def find_tool(name: str) -> Path:
    """The file of a tool.

    Args:
        name (str): Its name without the suffix: ``train``, ``tsne``.

    Raises:
        ValueError: If there is none; names those that there are.
    """
    tools = shipped_tools()
    if name not in tools:
        raise ValueError(f'there is no tool {name}; there are {", ".join(tools)}')
    return tools[name]


def shipped_tools() -> dict:
    """Files of the tools by name, in the order of the alphabet."""
    root = shipped_root() / 'tools'
    files = [path for pattern in ('*.py', '*.sh') for path in root.rglob(pattern)]
    # Modules that tools share have nothing to run.
    return {path.stem: path for path in sorted(files, key=lambda x: x.stem) if _runs(path)}


def _runs(path: Path) -> bool:
    return path.read_text(encoding='utf-8').startswith('#!')
