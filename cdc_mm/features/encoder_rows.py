import hashlib
from functools import partial
from pathlib import Path
from typing import List, NamedTuple, Optional, Union

import torch
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS, MODELS
from torch import Tensor, nn
from torch.utils.data import Dataset

from cdc_mm.models.utils import inference_copy

from .extractor import TRIED, training_view
from .filling import SeededView, fill_store
from .images import Images, scan_images
from .outputs import evaluating
from .store import FeatureStore


class ImageSet(NamedTuple):
    """A data set that is open, with its images and the pipeline that it was built with."""

    dataset: Dataset
    images: Images
    pipeline: List[dict]


class EncoderRows:
    """Rows that an encoder gives for the images of a data set, kept on disk.

    For a network without a config of its own, as the pretrained one that a folder is clustered on;
    see :class:`FeatureExtractor` for config and checkpoint. Images are normalised by the encoder's
    mean and standard deviation. The rows are named by weights and settings of the encoder,
    wherever the weights come from.

    Args:
        encoder (nn.Module): Images (B, C, H, W) to rows (B, D), with ``mean``, ``std`` (0..255, in
            RGB order, or None) and ``input_size`` (or None); as :class:`Encoder`.
        store_dir (str | Path): Where the stores lie.
        settings (dict, optional): What tells encoders with the same weights apart, as their config.
            Defaults to how the encoder prints.
        to_rgb (bool): Whether the data set gives BGR, as ``LoadImage`` does. Defaults to True.
        dtype (str): ``float32`` or ``float16``, of the rows on disk. Defaults to ``float32``.
        bf16 (bool): Whether the network computes in bfloat16. Defaults to False.
        batch_size (int): Images in a batch. Defaults to 64.
        num_workers (int): Processes that load images, on each rank. Defaults to 2.
    """

    def __init__(
        self,
        encoder: nn.Module,
        store_dir: Union[str, Path] = 'work_dirs/features',
        settings: Optional[dict] = None,
        to_rgb: bool = True,
        dtype: str = 'float32',
        bf16: bool = False,
        batch_size: int = 64,
        num_workers: int = 2,
    ) -> None:
        self.encoder = encoder
        self.store_dir = store_dir
        self.to_rgb = to_rgb
        self.dtype = dtype
        self.bf16 = bf16
        self.batch_size = batch_size
        self.num_workers = num_workers
        self._settings = dict(
            encoder=settings or repr(encoder),
            weights=weights_digest(encoder),
            mean=encoder.mean,
            std=encoder.std,
            to_rgb=to_rgb,
            bf16=bf16,
        )

    def open(self, dataset: dict) -> ImageSet:
        """Open a data set.

        Args:
            dataset (dict): Its config. Without a ``pipeline`` it gets :func:`encoder_pipeline`.

        Raises:
            FileNotFoundError: If the data are not there.
        """
        init_default_scope('mmpretrain')
        pipeline = dataset.get('pipeline')
        if pipeline is None:
            pipeline = encoder_pipeline(self.encoder.input_size or 224)
        built = DATASETS.build(dict(dataset, pipeline=pipeline))
        return ImageSet(built, scan_images(built), pipeline)

    def find_store(
        self,
        image_set: ImageSet,
        augment: Optional[Union[dict, list]] = None,
        view: int = 0,
    ) -> FeatureStore:
        """The store for a data set, with what it holds already; see :meth:`store`."""
        settings = dict(self._settings, pipeline=image_set.pipeline)
        if augment is not None:
            settings.update(augment=augment, view=view)
        return FeatureStore(self.store_dir, 'encoder', settings, self.dtype)

    def store(
        self,
        image_set: ImageSet,
        augment: Optional[Union[dict, list]] = None,
        view: int = 0,
        title: str = 'images',
    ) -> FeatureStore:
        """The store with the rows of a data set; those that it lacks are made.

        Args:
            image_set (ImageSet): See :meth:`open`.
            augment (dict | list, optional): Steps of an augmentation, as of a view of the
                :class:`MultiViewDataPreprocessor`. Defaults to none.
            view (int): Number of the augmented view: tells apart views that are drawn alike.
            title (str): What the images are, for the line that is printed.

        Raises:
            RunError: If a row is not finite, or the disk is full.
        """
        plain = self._preprocessor()
        device = torch.device(get_device())
        plain.to(device)
        self.encoder.to(device)
        seeded_view = None
        if augment is not None:
            seeded_view = SeededView(partial(training_view, self._preprocessor(augment), 0), [view])
        store = self.find_store(image_set, augment, view)

        network = None

        @torch.no_grad()
        def encode(batch: dict) -> Tensor:
            nonlocal network
            if augment is None:
                inputs = plain(batch, False)['inputs']
            else:
                inputs = batch['inputs'].to(device)
            if network is None:
                network = inference_copy(self.encoder, inputs[:TRIED])
            with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
                return network(inputs)

        with evaluating(self.encoder):
            fill_store(
                store, image_set.images, image_set.dataset, encode, self.batch_size,
                self.num_workers, title, seeded_view,
            )  # fmt: skip
        return store

    def _preprocessor(self, augment: Optional[Union[dict, list]] = None) -> nn.Module:
        return MODELS.build(
            dict(
                type='MultiViewDataPreprocessor',
                views=dict(augmented=() if augment is None else augment),
                mean=self.encoder.mean,
                std=self.encoder.std,
                to_rgb=self.to_rgb,
            )
        )


def encoder_settings(cfg: dict) -> dict:
    """What of the config of an encoder its rows depend on, besides the weights."""
    # Of weights the content counts, and all rows are those of an encoder at rest.
    return {
        key: value for key, value in cfg.items() if key not in ('weights', 'pretrained', 'freeze')
    }


def encoder_pipeline(input_size: int, on_error: str = 'blank') -> List[dict]:
    """How images of files reach a network that was trained with images of a size.

    The short edge is resized to 8/7 of the size, as 256 is to 224, and the centre is cut out.

    Args:
        input_size (int): Height and width in pixels.
        on_error (str): What happens to a faulty image; see :class:`LoadImage`. Defaults to leaving
            it out.

    Returns:
        list: Config of the pipeline.
    """
    edge = input_size * 8 // 7
    return [
        dict(type='LoadImage', on_error=on_error, min_side=2 * edge),
        dict(type='ResizeEdge', scale=edge, edge='short', backend='pillow'),
        dict(type='CenterCrop', crop_size=input_size),
        dict(type='PackInputs'),
    ]


def weights_digest(module: nn.Module) -> str:
    """A digest of names, shapes and values of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(f'{name} {tuple(value.shape)} {value.dtype}\n'.encode())
        # As bytes: NumPy has no bfloat16.
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
