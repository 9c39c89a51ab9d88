"""Memory of networks on a CPU."""

import ctypes
import sys

from mmengine.device import get_device

# mallopt's parameters and values (malloc.h of glibc).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_TRIM, _LARGEST_BLOCK = 2**31 - 1, 2**30


def keep_freed_memory() -> None:
    """On a CPU, let the process keep memory that a layer has freed for the next one.

    glibc gives blocks of more than 32 MB back to the system at once, and what a layer puts out is
    one: the system then clears the same pages for each layer of each batch anew, which takes longer
    than the layer. The process stays as large as it ever was. Elsewhere than on Linux with glibc,
    and where there is a GPU, nothing is done.
    """
    if sys.platform != 'linux' or get_device() != 'cpu':
        return
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK)
        mallopt(_TRIM_THRESHOLD, _LARGEST_TRIM)
