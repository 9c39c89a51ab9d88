import pickle
from typing import List

from mmengine.fileio import get, join_path
from mmpretrain.datasets import CIFAR100
from mmpretrain.registry import DATASETS

from .downloads import DownloadedCIFAR


@DATASETS.register_module()
class CIFAR100Coarse(DownloadedCIFAR, CIFAR100):
    """CIFAR-100 with its 20 superclasses as labels ("CIFAR100-20", "CIFAR-20").

    The labels are the ``coarse_labels`` of the official files, which the map of `SCAN
    <https://github.com/wvangansbeke/Unsupervised-Classification>`_ reproduces.

    Args:
        **kwargs: The keyword arguments of mmpretrain's ``CIFAR100``; files that are missing are
            downloaded.

    Raises:
        FileNotFoundError: If files are missing and cannot be downloaded.
    """

    METAINFO = {
        'classes': (
            'aquatic_mammals', 'fish', 'flowers', 'food_containers', 'fruit_and_vegetables',
            'household_electrical_devices', 'household_furniture', 'insects', 'large_carnivores',
            'large_man-made_outdoor_things', 'large_natural_outdoor_scenes',
            'large_omnivores_and_herbivores', 'medium_mammals', 'non-insect_invertebrates',
            'people', 'reptiles', 'small_mammals', 'trees', 'vehicles_1', 'vehicles_2',
        )
    }  # fmt: skip

    def load_data_list(self) -> List[dict]:
        """Images as uint8 RGB (32, 32, 3) arrays with their superclasses."""
        infos = super().load_data_list()
        name = (self.train_list if self.split == 'train' else self.test_list)[0][0]
        # Its checksum has just been verified.
        path = join_path(self.data_prefix['root'], self.base_folder, name)
        entry = pickle.loads(get(path), encoding='latin1')
        for info, label in zip(infos, entry['coarse_labels']):
            info['gt_label'] = int(label)
        return infos
