"""Checkpoints that are named by an address: they lie on disk before anything reads them."""

import fcntl
import hashlib
import os
import re
from functools import cache
from http.client import HTTPException
from pathlib import Path
from typing import Optional, Tuple
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname, urlopen

from mmengine.logging import MMLogger

_TIMEOUT = 60  # seconds without an answer


def local_checkpoint(filename: str) -> str:
    """The local file of a checkpoint, fetched first if it is named by an address.

    The log says the address, the file and its SHA-256 once. See :func:`fetch_checkpoint`.
    """
    path, told = fetch_checkpoint(filename)
    if told:
        _say(told)
    return path


def fetch_checkpoint(filename: str) -> Tuple[str, Optional[str]]:
    """Fetch a checkpoint into the cache without reading it; what is there is not fetched again.

    Args:
        filename (str): A path, or an address ``http://``, ``https://`` or ``file://``.

    Returns:
        tuple: The local file; and what to tell of one that came from the net, else None.

    Raises:
        ValueError: If the address is of another kind, cannot be fetched, or the file is not the
            one whose hash stands in its name (``name-0123abcd.pth``).
    """
    filename = os.fspath(filename)
    if '://' not in filename:
        return filename, None
    parts = urlsplit(filename)
    if parts.scheme == 'file':
        return url2pathname(parts.path), None
    if parts.scheme not in ('http', 'https'):
        raise ValueError(
            f'{filename} is no address that checkpoints are fetched from (http, https, file): '
            'download it and give its path'
        )
    name = re.sub(r'[^\w.-]', '_', unquote(Path(parts.path).name))[-100:] or 'checkpoint'
    path = cache_dir() / f'{hashlib.sha256(filename.encode()).hexdigest()[:12]}-{name}'
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The ranks of a job want the same file: one fetches, the others wait.
        with open(f'{path}.lock', 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.is_file():
                _download(filename, path)
        digest = _sha256(str(path), path.stat().st_mtime_ns)
    except (OSError, HTTPException) as error:
        raise ValueError(f'{filename} cannot be fetched: {error}') from error
    named = re.search(r'-([0-9a-f]{8,64})\.', name)  # as torch's hub has it
    if named and not digest.startswith(named[1]):
        path.unlink()
        raise ValueError(
            f'{filename} is not the file that its name says: its SHA-256 starts with '
            f'{digest[: len(named[1])]}'
        )
    return str(path), f'{filename} lies in {path} (remove it to fetch anew), SHA-256 {digest}.'


def cache_root() -> Path:
    """What is kept between runs lies here: ``cdc_mm`` in the user's cache folder."""
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'cdc_mm'


def cache_dir() -> Path:
    """Where fetched checkpoints lie."""
    return cache_root() / 'checkpoints'


def _download(url: str, path: Path) -> None:
    part = Path(f'{path}.part')
    try:
        with urlopen(url, timeout=_TIMEOUT) as response, open(part, 'wb') as file:
            size = int(response.headers.get('Content-Length') or -1)
            while block := response.read(1 << 20):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
            if size not in (-1, file.tell()):
                raise OSError(f'it ended after {file.tell()} of {size} bytes')
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@cache
def _sha256(path: str, changed: int) -> str:
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


@cache
def _say(line: str) -> None:
    MMLogger.get_current_instance().info(line)
