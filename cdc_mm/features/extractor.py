import hashlib
import json
import os
from copy import deepcopy
from pathlib import Path
from typing import Iterable, List, NamedTuple, Tuple, Union

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.utils import track_iter_progress
from mmpretrain.registry import DATASETS, MODELS
from torch.utils.data import DataLoader, Dataset

from cdc_mm.checkpoints import (
    check_backbone,
    check_checkpoint,
    read_backbone,
    read_state_dict,
)

from .outputs import check_output, iterate_outputs
from .store import write_rows

_LOADERS = dict(train='train_dataloader', test='test_dataloader')


class Features(NamedTuple):
    """Features of the images of a split that could be read.

    Attributes:
        rows (np.memmap): Shape (N, D), in the order of the data set, read-only.
        labels (list): ``gt_label`` of each: a number, a list of numbers in multi-label data, None
            without a label.
        images (list): Path of each, or its number where the data is no folder of files.
    """

    rows: np.ndarray
    labels: list
    images: list


class FeatureExtractor:
    """Features of a config's splits from a checkpoint, kept on disk.

    Rows are written as they come and read back as a memory map, so that the memory needed does not
    grow with the number of images. A cache file is named by a digest of all that its content
    depends on: model, preprocessing and data of the config, content of the checkpoint, path, size
    and time of change (or pixels) of every image. When any of it changes, features are computed
    anew.

    Training images go through the test pipeline. Labels are read from the data set each time; they
    serve evaluation only.

    Args:
        cfg (Config): A full config, of pretraining or of linear evaluation.
        checkpoint (str): For ``backbone`` any file that :func:`read_backbone` knows, else one of
            this project.
        output (str): ``backbone`` (pooled), ``z``, ``zc`` or ``zn``. Defaults to ``backbone``.
        dtype (str): ``float32`` or ``float16``, of the rows on disk. Defaults to ``float32``.
        bf16 (bool): Whether the network computes in bfloat16. Defaults to False.
        cache_dir (str | Path): Where the cache files lie.

    Attributes:
        labels (dict): ``gt_label`` of every image by split (``train``, ``test``), readable or not;
            as in :class:`Features`.
        classes (tuple): Names of the classes, if the test data has them.

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
        self.cfg = cfg
        self.output = output
        self.dtype = dtype
        self.bf16 = bf16
        self.cache_dir = Path(cache_dir)

        model_cfg = {'data_preprocessor': cfg.get('data_preprocessor'), **cfg.model}
        self.model = MODELS.build(deepcopy(model_cfg))
        check_output(self.model, output)
        self._load(checkpoint)
        with open(checkpoint, 'rb') as file:
            weights = hashlib.file_digest(file, 'sha256').hexdigest()
        self._settings = dict(
            model=model_cfg, checkpoint=weights, output=output, dtype=dtype, bf16=bf16
        )

        self.labels, self._images, self._datasets, self._paths = {}, {}, {}, {}
        for split in _LOADERS:
            self._open(split)
        self.classes = self._datasets['test'].metainfo.get('classes')

    def _load(self, checkpoint: str) -> None:
        if self.output == 'backbone':
            weights = read_backbone(checkpoint)
            check_backbone(self.model.backbone, weights, checkpoint)
            # Not strict: old files lack the counters of batch norm.
            self.model.backbone.load_state_dict(weights, strict=False)
        else:
            check_checkpoint(self.model, checkpoint, 'test')
            self.model.load_state_dict(read_state_dict(checkpoint), strict=False)

    def __call__(self, split: str) -> Features:
        """Features of a split, without images that ``LoadImage(on_error='blank')`` cannot read.

        Args:
            split (str): ``train`` or ``test``: the data of ``train_dataloader`` or
                ``test_dataloader``.

        Returns:
            Features: Rows, labels and names.

        Raises:
            RunError: If a feature is not finite, or no image can be read.
        """
        path, dataset = self._paths[split], self._datasets[split]
        kept_path = path.with_suffix('.kept.npy')
        if not path.is_file():
            self.cache_dir.mkdir(parents=True, exist_ok=True)
            loader = evaluation_loader(self.cfg, dataset)
            print(f'{split}: features of {len(dataset)} images', flush=True)
            write_rows(path, self._rows(loader, kept_path), self.dtype)
        rows = np.load(path, mmap_mode='r')
        labels, images = self.labels[split], self._images[split]
        if len(rows) < len(dataset):
            kept = np.load(kept_path)
            lost = np.setdiff1d(np.arange(len(dataset)), kept)
            print(
                f'{split}: {len(lost)} images could not be read and are left out, such as '
                f'{images[lost[0]]}'
            )
            labels, images = ([column[i] for i in kept] for column in (labels, images))
        return Features(rows, labels, images)

    def _open(self, split: str) -> None:
        dataset_cfg = evaluation_dataset_cfg(self.cfg, split)
        dataset = DATASETS.build(dataset_cfg)
        self.labels[split], self._images[split], digest = _scan(dataset)
        settings = dict(self._settings, dataset=dataset_cfg, images=digest)
        text = json.dumps(settings, sort_keys=True, default=str)
        key = hashlib.sha256(text.encode()).hexdigest()[:20]
        self._datasets[split] = dataset
        self._paths[split] = self.cache_dir / f'{split}_{self.output}_{self.dtype}_{key}.npy'

    def _rows(self, loader: DataLoader, kept_path: Path) -> Iterable[np.ndarray]:
        device = torch.device(get_device())
        self.model.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            batches = track_iter_progress((loader, len(loader)))
            kept = []
            for rows, samples in iterate_outputs(self.model, batches, self.output):
                kept += [sample.sample_idx for sample in samples]
                yield rows.numpy()
        print()
        # Before the rows, so that rows on disk always have theirs.
        if len(kept) < len(loader.dataset):
            np.save(kept_path, np.array(kept, np.int64))


def evaluation_dataset_cfg(cfg: Config, split: str) -> dict:
    """The data of a split as evaluation sees it: with the test pipeline and with labels.

    Args:
        cfg (Config): A full config.
        split (str): ``train`` or ``test``.

    Returns:
        dict: Config of the data set.
    """
    dataset = cfg[_LOADERS[split]].dataset.to_dict()
    dataset['pipeline'] = cfg.test_dataloader.dataset.to_dict()['pipeline']
    # Off where training reads a folder whose labels it must not see.
    if dataset.get('with_label') is False:
        del dataset['with_label']
    return dataset


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


def _scan(dataset: Dataset) -> Tuple[List, List, str]:
    """Labels and names of the images, and a digest of them that any change of them changes."""
    labels, images, digest = [], [], hashlib.sha256()
    for i in range(len(dataset)):
        info = dataset.get_data_info(i)
        labels.append(info.get('gt_label'))
        images.append(info.get('img_path', i))
        if 'img' in info:
            digest.update(f'{info["img"].shape}'.encode())
            digest.update(np.ascontiguousarray(info['img']))
        else:
            stat = os.stat(info['img_path'])
            digest.update(f'{info["img_path"]}\0{stat.st_size}\0{stat.st_mtime_ns}\n'.encode())
    return labels, images, digest.hexdigest()
