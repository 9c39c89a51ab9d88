from mmpretrain.datasets import CIFAR10
from mmpretrain.registry import DATASETS

from .downloads import DownloadedCIFAR


@DATASETS.register_module()
class CIFAR10Files(DownloadedCIFAR, CIFAR10):
    """mmpretrain's CIFAR-10, which says where to get the files if it cannot download them.

    Args:
        **kwargs: The keyword arguments of mmpretrain's ``CIFAR10``.

    Raises:
        FileNotFoundError: If files are missing and cannot be downloaded.
    """
