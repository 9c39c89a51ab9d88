"""A folder for each cluster, with links to its images or copies of them."""

import json
import os
import re
import shutil
import unicodedata
from pathlib import Path, PurePath
from typing import Dict, List, NamedTuple, Set, Tuple, Union

from cdc_mm.atomic import write_atomically
from cdc_mm.console import say
from cdc_mm.errors import RunError

from .assignments import Assignments

#: What says that a folder is ours, and which files in it are.
MARK = '.cdc_mm_clusters.json'
_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f\ud800-\udc7f\udd00-\udfff]')
_RESERVED = re.compile(r'(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)
_MOST_BYTES = 120  # of the name of a folder


class Linked(NamedTuple):
    """What :func:`link_clusters` wrote.

    Attributes:
        folder (Path): Where the folders of the clusters are.
        numbers (dict): Images by how they came there: ``link``, ``hard link``, ``copy``.
    """

    folder: Path
    numbers: Dict[str, int]


def link_clusters(
    assignments: Assignments,
    root: Union[str, Path],
    out: Union[str, Path],
    how: str = 'link',
) -> Linked:
    """Write ``out/clusters/<name>/`` with the images of each cluster; the images stay as they are.

    Clusters of the same name share a folder, dropped ones have none. Names are made safe as names
    of folders. Images of the same name from several folders get the name of their folder in front
    (``b__x.jpg``). What an earlier call wrote there is replaced, other files are left alone.

    Args:
        assignments (Assignments): N images, K clusters.
        root (str | Path): The folder that its paths are relative to.
        out (str | Path): Where ``clusters`` is to be.
        how (str): ``link`` for symbolic links, relative where possible; where the system allows
            none hard links, else copies, and the console says so. ``copy`` for copies.

    Returns:
        Linked: The folder, and how many images came there in which way.

    Raises:
        ValueError: If ``how`` is another, or a path leaves ``root``.
        RunError: If ``out/clusters`` is there and not ours, an image is missing, or a file cannot
            be written.
    """
    if how not in ('link', 'copy'):
        raise ValueError(f"how must be 'link' or 'copy', got {how!r}")
    root, folder = Path(root).resolve(), Path(out).resolve() / 'clusters'
    for path in assignments.paths:
        if PurePath(path).is_absolute() or '..' in PurePath(path).parts:
            raise ValueError(f'{path} is not a path inside {root}')
        if not (root / path).is_file():
            raise RunError(f'{root / path} is not there any more; cluster the folder again')
    _clear(folder)
    planned = _plan(assignments, folder)
    # First, so that a folder that is not finished is known for ours.
    mark = dict(files=[target for _, target in planned])
    write_atomically(folder / MARK, json.dumps(mark, indent=1))
    numbers = dict.fromkeys(('link', 'hard link', 'copy'), 0)
    try:
        for source, target in planned:
            (folder / target).parent.mkdir(exist_ok=True)
            numbers[_put(root / source, folder / target, how)] += 1
    except OSError as error:
        raise RunError(
            f'could not write {error.filename2 or error.filename or folder}: {error.strerror}. '
            'Make room or the folder writable, then try again.'
        ) from error
    if how == 'link' and numbers['link'] < len(planned):
        say(
            f'{folder}: symbolic links are not allowed there; hard links instead: '
            f'{numbers["hard link"]}, copies: {numbers["copy"]}'
        )
    return Linked(folder, numbers)


def folder_names(names: List[str]) -> Dict[str, str]:
    """Names of folders that every system takes, by the names of clusters; none for the empty name.

    Args:
        names (list[str]): Of the clusters; those that are the same share a folder.

    Returns:
        dict: Name of a cluster -> name of its folder. No two differ only in case.
    """
    found, taken = {}, set()
    for name in dict.fromkeys(filter(None, names)):
        safe = _UNSAFE.sub('_', unicodedata.normalize('NFC', name)).strip(' .') or '_'
        if _RESERVED.match(safe):
            safe = f'_{safe}'
        safe = _cut(safe)
        found[name] = _free(safe, taken)
    return found


def _plan(assignments: Assignments, folder: Path) -> List[Tuple[str, str]]:
    """Pairs of an image and its place below the folder."""
    folders = folder_names(assignments.names)
    taken: Dict[str, Set[str]] = {}
    planned = []
    for path, k in zip(assignments.paths, assignments.cluster.tolist()):
        name = folders.get(assignments.names[k])
        if name is None:
            continue
        if name not in taken:
            there = os.listdir(folder / name) if (folder / name).is_dir() else []
            taken[name] = {_key(file) for file in there}
        base = PurePath(path).name
        if _key(base) in taken[name]:
            whole = '__'.join(PurePath(path).parts)
            base = whole if len(os.fsencode(whole)) <= 240 else base
        planned.append((path, f'{name}/{_free(base, taken[name])}'))
    return planned


def _free(name: str, taken: Set[str]) -> str:
    """The name, with a number if it is taken; it is taken then."""
    stem, suffix = os.path.splitext(name)
    free, number = name, 2
    while _key(free) in taken:
        free = f'{stem} ({number}){suffix}'
        number += 1
    taken.add(_key(free))
    return free


def _key(name: str) -> str:
    # Some file systems take these for the same.
    return unicodedata.normalize('NFC', name).casefold()


def _cut(name: str) -> str:
    data = os.fsencode(name)
    if len(data) <= _MOST_BYTES:
        return name
    return data[:_MOST_BYTES].decode('utf-8', 'ignore').rstrip(' .')


def _clear(folder: Path) -> None:
    """Remove what an earlier call wrote."""
    if not os.path.lexists(folder):
        return
    try:
        files = json.loads((folder / MARK).read_text(encoding='utf-8'))['files']
        # Whoever wrote into it: nothing outside the folder.
        targets = [folder / file for file in files if re.fullmatch(r'[^/\\]+/[^/\\]+', file)]
        targets = [target for target in targets if '..' not in target.parts]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f'{folder} is there already and was not made by this: take another output folder, or '
            'move it away'
        ) from error
    for target in targets:
        if not target.parent.is_symlink() and (target.is_symlink() or target.is_file()):
            target.unlink()
    for parent in {target.parent for target in targets}:
        if parent.is_dir() and not parent.is_symlink() and not any(parent.iterdir()):
            parent.rmdir()


def _put(source: Path, target: Path, how: str) -> str:
    """Link or copy one image; says which it was."""
    if how == 'link':
        try:
            address = os.path.relpath(source, target.parent)
        except ValueError:  # another drive
            address = str(source)
        try:
            os.symlink(address, target)
            return 'link'
        except (OSError, NotImplementedError):
            pass
        try:
            os.link(source, target)
            return 'hard link'
        except (OSError, NotImplementedError):
            pass
    shutil.copy2(source, target)
    return 'copy'
