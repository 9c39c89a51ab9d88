import hashlib
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import NamedTuple, Optional, Union

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS, MODELS
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cdc_mm.checkpoints import local_checkpoint
from cdc_mm.models.loading import load_backbone, load_weights
from cdc_mm.models.utils import inference_copy

from .filling import SeededView, fill_store
from .images import scan_images
from .outputs import check_output, evaluating, known_outputs, model_rows
from .store import FeatureStore, Rows
from .unreadable import tell_unreadable

_LOADERS = dict(train='train_dataloader', test='test_dataloader')

# Images that show whether a faster copy of the network gives its rows.
TRIED = 2


class Features(NamedTuple):
    """Features of the images of a split that could be read.

    Attributes:
        rows (np.memmap | Rows): Shape (N, D), in the order of the data set, read-only.
        labels (list): ``gt_label`` of each: a number, a list of numbers in multi-label data, None
            without a label.
        images (list): Path of each, or its number where the data is no folder of files.
    """

    rows: Union[np.memmap, Rows]
    labels: list
    images: list


class Groups(NamedTuple):
    """By what the images of a split are told apart.

    Attributes:
        numbers (np.ndarray): Class or predicted cluster of each, shape (N,), int64.
        names (list): Name by number.
        predicted (bool): Whether they are clusters.
    """

    numbers: np.ndarray
    names: list
    predicted: bool


class FeatureExtractor:
    """Features of a config's splits from a checkpoint, kept on disk.

    Rows are written as they come and read back as memory maps, so that the memory needed does not
    grow with the number of images. A store (:class:`FeatureStore`) is named by a digest of model,
    preprocessing and content of the checkpoint; rows in it are found by path, size and time of
    change (or pixels) of the image. So only images that are new or have changed pass the network,
    and splits that have images in common share their rows.

    Training images go through the test pipeline. Labels are read from the data set each time; they
    serve evaluation only.

    Args:
        cfg (Config): A full config, of pretraining or of linear evaluation.
        checkpoint (str): For ``backbone`` any file that :func:`read_backbone` knows, else one of
            this project.
        output (str): ``backbone`` (pooled), or what else :func:`known_outputs` says of the model.
            Defaults to ``backbone``.
        dtype (str): ``float32`` or ``float16``, of the rows on disk. Defaults to ``float32``.
        bf16 (bool): Whether the network computes in bfloat16. Defaults to False.
        cache_dir (str | Path): Where the stores lie.

    Attributes:
        labels (dict): ``gt_label`` of every image by split (``train``, ``test``), readable or not;
            as in :class:`Features`.
        classes (tuple): Names of the classes, if the test data has them.
        outputs (tuple): What :meth:`__call__` can be asked for: ``output`` alone where that is
            ``backbone``, as the file may hold no more.

    Raises:
        FileNotFoundError: If there is no such checkpoint, or an image is missing.
        ValueError: If the checkpoint does not fit, or ``output`` or ``dtype`` is not known.
    """

    def __init__(
        self,
        cfg: Config,
        checkpoint: str,
        output: str = 'backbone',
        dtype: str = 'float32',
        bf16: bool = False,
        cache_dir: Union[str, Path] = 'work_dirs/features',
    ) -> None:
        if dtype not in ('float32', 'float16'):
            raise ValueError(f'dtype must be float32 or float16, got {dtype}')
        init_default_scope(cfg.get('default_scope', 'mmpretrain'))
        self.cfg = cfg = deepcopy(cfg)
        checkpoint = local_checkpoint(checkpoint)
        self.output = output
        self.dtype = dtype
        self.bf16 = bf16
        self.cache_dir = Path(cache_dir)

        model_cfg = {'data_preprocessor': cfg.get('data_preprocessor'), **cfg.model}
        self.model = MODELS.build(deepcopy(model_cfg))
        check_output(self.model, output)
        if output == 'backbone' and self.model.backbone is not None:
            load_backbone(self.model.backbone, checkpoint)
        else:
            load_weights(self.model, checkpoint)
        self.outputs = (output,) if output == 'backbone' else known_outputs(self.model)
        with open(checkpoint, 'rb') as file:
            weights = hashlib.file_digest(file, 'sha256').hexdigest()
        self._settings = dict(model=model_cfg, checkpoint=weights, bf16=bf16)

        self._datasets, self._images = {}, {}
        for split in _LOADERS:
            self._datasets[split] = DATASETS.build(evaluation_dataset_cfg(cfg, split))
            self._images[split] = scan_images(self._datasets[split])
        self.labels = {split: images.labels for split, images in self._images.items()}
        self.classes = self._datasets['test'].metainfo.get('classes')

    def __call__(
        self, split: str, output: Optional[str] = None, view: Optional[int] = None
    ) -> Features:
        """Features of a split, without images that ``LoadImage(on_error='blank')`` cannot read.

        Args:
            split (str): ``train`` or ``test``: the data of ``train_dataloader`` or
                ``test_dataloader``.
            output (str, optional): One of ``outputs``. Defaults to the one of the extractor.
            view (int, optional): Augment the images as in training and take this view of them, 0
                being the first; the same image has the same view each time. None leaves them as
                they are.

        Returns:
            Features: Rows, labels and names.

        Raises:
            RunError: If a feature is not finite, or no image can be read.
            ValueError: If there is no such output.
        """
        output = output or self.output
        if output not in self.outputs:
            raise ValueError(f'output must be one of {", ".join(self.outputs)}, got {output}')
        cfg = evaluation_dataset_cfg(self.cfg, split)
        dataset, seeded_view = self._datasets[split], None
        if view is not None:
            cfg['pipeline'] = self.cfg.train_dataloader.dataset.to_dict().get('pipeline')
            if cfg['pipeline'] is None:
                raise ValueError(
                    f'{cfg["type"]} gives rows, which cannot be augmented: use a config whose data '
                    'are images'
                )
            dataset = DATASETS.build(cfg)
            preprocessor = deepcopy(self.model.data_preprocessor).cpu()
            seeded_view = SeededView(partial(training_view, preprocessor, view), [view])
        settings = dict(
            self._settings,
            pipeline=cfg.get('pipeline'),
            rows=getattr(dataset, 'digest', None),
            output=output,
            view=view,
        )
        store = FeatureStore(self.cache_dir, output, settings, self.dtype)
        device = torch.device(get_device())
        self.model.to(device)

        rows_of = partial(model_rows, output=output)
        model = None

        def encode(batch: dict) -> Tensor:
            nonlocal model
            if view is None:
                inputs = self.model.data_preprocessor(batch, False)['inputs']
            else:
                inputs = batch['inputs'].to(device)
            if model is None:
                model = inference_copy(self.model, inputs[:TRIED], rows_of)
            with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
                return rows_of(model, inputs)

        loader = self.cfg.test_dataloader
        images = self._images[split]
        with evaluating(self.model):
            fill_store(
                store, images, dataset, encode, loader.batch_size, loader.num_workers, split,
                seeded_view,
            )  # fmt: skip
        rows, kept = store.rows(images.ids)
        tell_unreadable(images.without(kept), split)
        labels, names = ([column[i] for i in kept] for column in (images.labels, images.names))
        return Features(rows, labels, names)

    def groups(self, split: str) -> Groups:
        """Classes of the images that could be read; without labels, the clusters predicted.

        Args:
            split (str): ``train`` or ``test``.

        Raises:
            ValueError: If images have no labels, or several each, and the model has no clusters.
        """
        labels = self(split).labels
        if not any(label is None or isinstance(label, (list, tuple)) for label in labels):
            numbers = np.array([int(label) for label in labels])
            names = self.classes or range(numbers.max() + 1)
            return Groups(numbers, [str(name) for name in names], False)
        if 'scores' not in self.outputs:
            raise ValueError(
                f'the {split} images have no labels, or several each, and there are no clusters of '
                f'the {type(self.model).__name__} in {self.output}: nothing to group them by'
            )
        numbers = np.asarray(self(split, 'scores').rows).argmax(1)
        return Groups(numbers, [f'cluster {k}' for k in range(self.model.num_clusters)], True)


def training_view(preprocessor: torch.nn.Module, view: int, batch: dict) -> Tensor:
    """View number ``view``, (B, C, H, W), of those that a preprocessor makes in training."""
    inputs = preprocessor(batch, True)['inputs']
    return (list(inputs.values()) if isinstance(inputs, dict) else inputs)[view]


def evaluation_dataset_cfg(cfg: Config, split: str) -> dict:
    """The data of a split as evaluation sees it: as in the test, without views, with labels.

    Args:
        cfg (Config): A full config.
        split (str): ``train`` or ``test``.

    Returns:
        dict: Config of the data set.
    """
    dataset = cfg[_LOADERS[split]].dataset.to_dict()
    test = cfg.test_dataloader.dataset.to_dict()
    if dataset['type'] == 'RowFile':
        dataset.pop('views', None)
        return dataset
    if dataset['type'] == 'FeatureDataset':
        dataset.pop('views', None)
        images = dataset['dataset']
    else:
        images = dataset
        images['pipeline'] = test['pipeline']
    # Off where training reads a folder whose labels it must not see.
    if images.get('with_label') is False:
        del images['with_label']
    return dataset


def example_images(cfg: Config, count: int = 16) -> Tensor:
    """The first images of a config's test data, as its pipeline gives them.

    Args:
        cfg (Config): A full config.
        count (int): How many at most. Defaults to 16.

    Returns:
        Tensor: Shape (B, C, H, W), uint8.

    Raises:
        ValueError: If the data are no images of one size, or there are fewer than two.
    """
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    data = evaluation_dataset_cfg(cfg, 'test')
    if isinstance(data.get('dataset'), dict):  # the images behind stored rows
        data = data['dataset']
    dataset = DATASETS.build(data)
    images = [dataset[i]['inputs'] for i in range(min(count, len(dataset)))]
    if len(images) < 2 or any(x.ndim != 3 or x.shape != images[0].shape for x in images):
        raise ValueError(
            'test_dataloader.dataset must give at least two images, all of one size after its '
            f'pipeline; it gives {", ".join(str(tuple(x.shape)) for x in images[:3]) or "none"}'
        )
    return torch.stack(images)


def evaluation_loader(cfg: Config, dataset: Dataset) -> DataLoader:
    """A loader that gives each image once, in order (on several ranks, dealt out in turn).

    Args:
        cfg (Config): Its ``test_dataloader`` says batch size and workers.
        dataset (Dataset): The data.

    Returns:
        DataLoader: Without persistent workers.
    """
    return Runner.build_dataloader(
        dict(
            dataset=dataset,
            batch_size=cfg.test_dataloader.batch_size,
            num_workers=cfg.test_dataloader.num_workers,
            sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
            collate_fn=dict(type='default_collate'),
        )
    )
