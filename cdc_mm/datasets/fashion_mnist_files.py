from pathlib import Path
from typing import List, Optional

from mmpretrain.datasets import FashionMNIST
from mmpretrain.datasets.mnist import read_sn3_pascalvincent_tensor
from mmpretrain.registry import DATASETS

from .downloads import first_line


@DATASETS.register_module()
class FashionMNISTFiles(FashionMNIST):
    """mmpretrain's Fashion-MNIST, which also reads the files as they are published: packed.

    Debian's ``dataset-fashion-mnist`` has them so, in ``/usr/share/datasets/fashion-mnist``.

    Args:
        **kwargs: The keyword arguments of mmpretrain's ``FashionMNIST``.

    Raises:
        FileNotFoundError: If files are missing and cannot be downloaded.
    """

    def load_data_list(self) -> List[dict]:
        """Images as uint8 (28, 28) arrays with their labels."""
        names = [name for name, _ in (self.test_list if self.test_mode else self.train_list)]
        paths = [self._find(name) for name in names]
        if None in paths:
            return self._downloaded()
        images, labels = (read_sn3_pascalvincent_tensor(str(path)).numpy() for path in paths)
        return [dict(img=image, gt_label=int(label)) for image, label in zip(images, labels)]

    def _find(self, name: str) -> Optional[Path]:
        root = Path(self.data_prefix['root'])
        choices = (root / name.removesuffix('.gz'), root / name)
        return next((path for path in choices if path.is_file()), None)

    def _downloaded(self) -> List[dict]:
        try:
            return super().load_data_list()
        # urllib's errors, what is no archive, and a checksum that is wrong.
        except (AssertionError, OSError, RuntimeError) as error:
            root = self.data_prefix['root'].rstrip('/')
            names = ','.join(name for name, _ in (*self.train_list, *self.test_list))
            raise FileNotFoundError(
                f'{root} lacks files of Fashion-MNIST, and they could not be downloaded '
                f'({first_line(error)}). Expected, packed or not: {root}/{{{names}}}. '
                'Debian has them: apt install dataset-fashion-mnist, then '
                'data_root=/usr/share/datasets/fashion-mnist.'
            ) from error
