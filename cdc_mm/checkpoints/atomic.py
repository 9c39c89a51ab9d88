from pathlib import Path
from typing import Union

from mmengine.fileio import LocalBackend, register_backend

from cdc_mm.atomic import write_atomically


@register_backend('atomic')
class AtomicBackend(LocalBackend):
    """mmengine's local files, written so that a file is either the old or the whole new one."""

    def put(self, obj: bytes, filepath: Union[str, Path]) -> None:
        """Write a file; see :func:`cdc_mm.atomic.write_atomically`.

        Args:
            obj (bytes): The content.
            filepath (str | Path): The file; its folder is made when missing.

        Raises:
            RunError: If the disk is full or the folder cannot be written to. What was there stays.
        """
        write_atomically(filepath, obj, then='go on with --resume')

    def put_text(self, obj: str, filepath: Union[str, Path], encoding: str = 'utf-8') -> None:
        """Write a text file; see :meth:`put`."""
        self.put(obj.encode(encoding), filepath)
