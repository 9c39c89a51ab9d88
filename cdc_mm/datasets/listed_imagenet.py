from typing import List

from mmpretrain.datasets import ImageNet
from mmpretrain.registry import DATASETS

from .listing import check_list


@DATASETS.register_module()
class ListedImageNet(ImageNet):
    """mmpretrain's ``ImageNet``, whose lists may not name images outside its folder.

    A list, of lines ``PATH LABEL``, is ``ann_file`` or, if there is one,
    ``<data_root>/meta/<split>.txt``: mmpretrain reads that unasked, and it comes with the data.

    Args:
        **kwargs: Those of mmpretrain's ``ImageNet``.

    Raises:
        ValueError: If a path of the list is absolute or goes through ``..``.
    """

    def load_data_list(self) -> List[dict]:
        """Path and label of every image."""
        if self.ann_file:
            check_list(self.ann_file)
        return super().load_data_list()
