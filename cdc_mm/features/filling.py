from typing import Callable, Optional, Sequence

import numpy as np
from mmengine.dataset import default_collate
from mmengine.dist import get_rank, get_world_size, is_main_process
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cdc_mm import console
from cdc_mm.console import say, track
from cdc_mm.datasets.seeding import seeded
from cdc_mm.datasets.transforms import is_blank
from cdc_mm.memory import keep_freed_memory

from .images import Images
from .store import ID_BYTES, FeatureStore


def fill_store(
    store: FeatureStore,
    images: Images,
    dataset: Dataset,
    encode: Callable[[dict], Tensor],
    batch_size: int,
    num_workers: int,
    title: str,
    view: Optional['SeededView'] = None,
) -> None:
    """Make the rows that a store lacks, and show progress and the time left.

    Ranks share the images, and each writes parts of its own. What a killed run has completed is not
    made again.

    Args:
        store (FeatureStore): Where the rows go.
        images (Images): Of the data set; see :func:`scan_images`.
        dataset (Dataset): Gives ``inputs`` and ``data_samples`` of each image.
        encode (Callable): Rows (B, D) of a batch as ``default_collate`` makes it.
        batch_size (int): Images in a batch.
        num_workers (int): Processes that load images, on each rank.
        title (str): What the images are, for the line that is printed.
        view (SeededView, optional): How images are augmented. Defaults to not at all.

    Raises:
        RunError: If a row is not finite, or the disk is full.
    """
    if len(store.missing(images.ids)) == 0:
        return
    keep_freed_memory()
    with store.adding() as writer:
        # Anew: another process may have made them meanwhile.
        missing = store.missing(images.ids)
        console.silence()
        share = np.array_split(missing, get_world_size())[get_rank()]
        batches = DataLoader(
            _Share(dataset, share, images.ids, view),
            batch_size,
            num_workers=num_workers,
            collate_fn=default_collate,
        )
        if is_main_process() and len(missing):
            say(f'{title}: features of {len(missing)} images')
            batches = track(batches, f'{title}: features')
        done = 0
        for batch in batches:
            numbers = share[done : done + len(batch['data_samples'])]
            done += len(numbers)
            read = np.array(
                [_is_read(s, images.names[i]) for s, i in zip(batch['data_samples'], numbers)]
            )
            rows = encode(batch).float().cpu().numpy()
            writer.add(images.ids[numbers[read]], rows[read], images.ids[numbers[~read]])


class SeededView:
    """An augmented view of an image, whose random numbers follow from the image and a seed.

    Neither the order of the images nor their batches, the number of data workers or of ranks have a
    part in it, as the view is made in the data worker, of one image at a time, on the CPU.

    Args:
        augment (Callable): Makes a tensor (1, C, H, W) of a batch of one image.
        seed (Sequence[int]): Tells views apart.
    """

    def __init__(self, augment: Callable[[dict], Tensor], seed: Sequence[int]) -> None:
        self.augment = augment
        self.seed = list(seed)

    def __call__(self, dataset: Dataset, index: int, image_id: bytes) -> dict:
        """``inputs`` and ``data_samples`` of an image of a data set."""
        words = np.frombuffer(image_id.ljust(ID_BYTES, b'\0'), np.uint32)
        with seeded([*self.seed, *words.tolist()]):
            data = dataset[index]
            inputs = self.augment(default_collate([data]))[0]
        return dict(inputs=inputs, data_samples=data['data_samples'])


class _Share(Dataset):
    """Some of the images of a data set."""

    def __init__(
        self, dataset: Dataset, indices: np.ndarray, ids: np.ndarray, view: Optional[SeededView]
    ) -> None:
        self.dataset = dataset
        self.indices = indices
        self.ids = ids
        self.view = view

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> dict:
        index = int(self.indices[position])
        if self.view is None:
            return self.dataset[index]
        return self.view(self.dataset, index, self.ids[index])


def _is_read(sample, name) -> bool:
    # LoadImage(on_error='skip') puts another image in the place of a faulty one.
    path = sample.get('img_path')
    return not is_blank(sample) and (path is None or path == name)
