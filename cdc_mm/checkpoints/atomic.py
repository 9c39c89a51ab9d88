import os
from contextlib import suppress
from pathlib import Path
from typing import Union

from mmengine.fileio import LocalBackend, register_backend

from cdc_mm.errors import RunError


@register_backend('atomic')
class AtomicBackend(LocalBackend):
    """mmengine's local files, written so that a file is either the old or the whole new one.

    Whatever ends the process, the power included, a file under its own name is complete: new
    content goes to ``<name>.tmp`` and reaches the disk before it takes the name.
    """

    def put(self, obj: bytes, filepath: Union[str, Path]) -> None:
        """Write a file.

        Args:
            obj (bytes): The content.
            filepath (str | Path): The file; its folder is made when missing.

        Raises:
            RunError: If the disk is full or the folder cannot be written to. What was there stays.
        """
        path = Path(filepath)
        unfinished = path.with_name(f'{path.name}.tmp')
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open('wb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except OSError as error:
            with suppress(OSError):
                unfinished.unlink()
            raise RunError(
                f'could not write {path} ({len(obj) / 1e6:.1f} MB): {error.strerror}. What was '
                'saved before is complete: make room or the folder writable, then go on with '
                '--resume.'
            ) from error

    def put_text(self, obj: str, filepath: Union[str, Path], encoding: str = 'utf-8') -> None:
        """Write a text file; see :meth:`put`."""
        self.put(obj.encode(encoding), filepath)
