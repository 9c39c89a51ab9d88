from typing import List

from mmengine.fileio import join_path


class DownloadedCIFAR:
    """For classes of mmpretrain's CIFAR sets: says where to get the files if it cannot get them."""

    def load_data_list(self) -> List[dict]:
        """Images as uint8 RGB (32, 32, 3) arrays with their labels.

        Raises:
            FileNotFoundError: If files are missing and cannot be downloaded.
        """
        try:
            return super().load_data_list()
        # urllib's errors, what is no archive, and a checksum that is wrong.
        except (AssertionError, OSError, RuntimeError) as error:
            if self._check_integrity():
                raise
            root = self.data_prefix['root']
            names = [name for name, _ in (*self.train_list, *self.test_list)]
            names.append(self.meta['filename'])
            raise FileNotFoundError(
                f'{root} lacks the files of {self.url}, and they could not be downloaded '
                f'({first_line(error)}). Expected: {join_path(root, self.base_folder)}/'
                f'{{{",".join(names)}}}. Unpack {self.url} in {root}, or point data_root to where '
                f'{self.base_folder}/ is.'
            ) from error


def first_line(error: Exception) -> str:
    """Why a download failed; urllib's errors have the reason apart."""
    return str(getattr(error, 'reason', error)).split('\n')[0]
