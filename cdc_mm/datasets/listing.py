import io
import os
from pathlib import PurePosixPath
from typing import Iterable, List

from mmengine.fileio import get
from mmengine.logging import MMLogger


def read_lines(filename: str) -> List[str]:
    """The lines of a text file in UTF-8, whether or not a byte order mark is in front.

    Args:
        filename (str): Any path that mmengine reads.

    Raises:
        ValueError: If it is in another encoding.
    """
    try:
        # Not splitlines, to which more than line ends are ends.
        text = io.StringIO(get(filename).decode('utf-8-sig'))
        return [line.rstrip('\r\n') for line in text]
    except UnicodeDecodeError as error:
        line = error.object.count(b'\n', 0, error.start) + 1
        raise ValueError(
            f'{filename} is not UTF-8: see line {line}. Save it in that encoding.'
        ) from error


def list_files(root: str) -> List[str]:
    """Paths of all regular files below a local folder, relative to it and sorted.

    Links to folders are followed, but no folder is entered from within itself, so that loops end.
    Folders that cannot be opened are left out with a warning; so are broken links, pipes and
    devices, silently.

    Args:
        root (str): An existing folder.

    Returns:
        list[str]: Names that are not valid UTF-8 hold surrogates, as everywhere in Python.
    """
    files, unreadable = [], []
    # Folders still to visit: path relative to root, and the real paths of it and those above it.
    todo = [('', frozenset([os.path.realpath(root)]))]
    while todo:
        folder, above = todo.pop()
        try:
            entries = list(os.scandir(os.path.join(root, folder)))
        except OSError as error:
            unreadable.append(f'{error.filename}: {error.strerror}')
            continue
        for entry in entries:
            path = os.path.join(folder, entry.name)
            try:
                if entry.is_file():
                    files.append(path)
                elif entry.is_dir():
                    real = os.path.realpath(entry.path)
                    if real not in above:
                        todo.append((path, above | {real}))
            except OSError as error:
                unreadable.append(f'{error.filename}: {error.strerror}')
    if unreadable:
        MMLogger.get_current_instance().warning(
            f'{len(unreadable)} entries of {root} could not be opened and are left out, such as '
            f'{unreadable[0]}'
        )
    return sorted(files)


def check_below(names: Iterable[str], source: str) -> None:
    """Refuse names of a list that lead out of the folder that they are relative to.

    Links are followed: they are the user's own, while a list may be a stranger's.

    Args:
        names (Iterable[str]): Paths as the list has them.
        source (str): The list, for the message.

    Raises:
        ValueError: If one is absolute or goes through ``..``.
    """
    for name in names:
        path = PurePosixPath(str(name).replace('\\', '/'))
        if path.is_absolute() or '..' in path.parts or '://' in str(name):
            raise ValueError(
                f'{source} names {name}, which lies outside the folder of the images: expected are '
                'paths below it. Point data_root (or data_prefix) to a folder above all images.'
            )


def check_list(filename: str) -> None:
    """:func:`check_below` for a list of lines ``PATH`` or ``PATH LABEL``, as mmpretrain reads them.

    Args:
        filename (str): The list.

    Raises:
        ValueError: If it is not UTF-8 or a path in it leads out of the folder of the images.
    """
    check_below((line.strip() for line in read_lines(str(filename))), str(filename))
