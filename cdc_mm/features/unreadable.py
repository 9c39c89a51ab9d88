import os
from contextlib import contextmanager
from typing import Iterable, Iterator, Optional, Set

from mmengine.dist import is_main_process

from cdc_mm.console import say

_SHOWN = 3
_told: Optional[Set[str]] = None  # names, where each is told once


@contextmanager
def told_once() -> Iterator[None]:
    """Tell of an image that cannot be read once, however often it is come across meanwhile."""
    global _told
    before, _told = _told, set() if _told is None else _told
    try:
        yield
    finally:
        _told = before


def tell_unreadable(names: Iterable[str], title: str = '') -> None:
    """Say how many images could not be read, and the first of them; nothing if there are none.

    Args:
        names (Iterable[str]): Paths of the images.
        title (str): What the images are, such as the split. Defaults to nothing.
    """
    names = [name for name in names if _told is None or name not in _told]
    if not names or not is_main_process():
        return
    more = ' more' if _told else ''
    if _told is not None:
        _told.update(names)
    say(f'{title}: ' * bool(title) + unreadable(names, more))


def unreadable(names: list, more: str = '') -> str:
    """That these images could not be read, with the first names."""
    first = [os.fsencode(str(name)).decode('utf-8', 'replace') for name in names[:_SHOWN]]
    if len(names) == 1:
        return f'1{more} image could not be read and is left out: {first[0]}'
    such = ', such as' if len(names) > _SHOWN else ':'
    return (
        f'{len(names):,}{more} images could not be read and are left out{such} {", ".join(first)}'
    )
