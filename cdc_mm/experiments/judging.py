"""One run of a leaderboard: train a method with a seed, and judge its clusters."""

import io
import os
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS
from torch.utils.data import Dataset

from cdc_mm.atomic import dump_atomically, write_atomically
from cdc_mm.checkpoints import newest_checkpoint
from cdc_mm.errors import clear_errors, clear_run_errors
from cdc_mm.evaluation import DumpClusters
from cdc_mm.evaluation.functional import (
    kmeans_clusters,
    knn_accuracy,
    label_metrics,
    linear_consistency,
    silhouette,
    size_metrics,
    unit_rows,
)
from cdc_mm.features import FeatureDataset, FeatureExtractor, evaluation_dataset_cfg
from cdc_mm.models import BaseClusterer
from cdc_mm.wrappers import unwrap_model

from .plan import why_untestable
from .seeds import open_run

_RESTARTS, _NEIGHBORS, _TEMPERATURE = 10, 200, 0.07


class BoardImages(NamedTuple):
    """The images of a split.

    Attributes:
        dataset (Dataset): Of images, or of rows of a frozen encoder.
        labels (np.ndarray, optional): Class of each image, shape (N,), for judging only.
        names (np.ndarray): Path of each, or its number.
    """

    dataset: Dataset
    labels: Optional[np.ndarray]
    names: np.ndarray

    @property
    def encoded(self) -> bool:
        """Whether they are rows."""
        return isinstance(self.dataset, FeatureDataset)

    def rows(self) -> np.ndarray:
        """The images in a space that no method learns, (N, D): pixels, or the encoder's rows."""
        if self.encoded:
            return np.asarray(self.dataset.rows[:], dtype=np.float32)
        pixels = [self.dataset[i]['inputs'].numpy().ravel() for i in range(len(self.dataset))]
        return np.stack(pixels)


def open_images(cfg: Config, split: str) -> BoardImages:
    """Open the images of a split; what is not stored of their rows is made.

    Args:
        cfg (Config): Its ``train_dataloader`` and ``test_dataloader`` say which.
        split (str): ``train`` or ``test``.
    """
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    dataset = DATASETS.build(evaluation_dataset_cfg(cfg, split))
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    labels = [info.get('gt_label') for info in infos]
    known = None if None in labels else np.array(labels, dtype=np.int64)
    names = [str(info.get('img_path', i)) for i, info in enumerate(infos)]
    return BoardImages(dataset, known, np.array(names))


def judge_clusters(clusters: np.ndarray, images: BoardImages, num_clusters: int) -> dict:
    """Figures of a clustering of the evaluation images, the same for every method.

    Args:
        clusters (np.ndarray): Cluster of each image, shape (N,); -1 for one that could not be read.
        images (BoardImages): The images.
        num_clusters (int): K.

    Returns:
        dict: With labels what :func:`label_metrics` gives. In the fixed space, without labels,
        ``linear_cv`` (percent) and ``silhouette``. What :func:`size_metrics` gives, and
        ``num_samples``.
    """
    read = np.flatnonzero(clusters >= 0)
    clusters, rows = clusters[read], images.rows()[read]
    result = {}
    if images.labels is not None:
        result.update(label_metrics(images.labels[read], clusters, num_clusters))
    result.update(
        linear_cv=100 * linear_consistency(rows, clusters, num_clusters),
        silhouette=silhouette(rows, clusters),
        num_samples=len(read),
        **size_metrics(clusters, num_clusters),
    )
    return result


def train_and_judge(config: str, num_clusters: int) -> dict:
    """Train from where the work dir stands, judge the last checkpoint and write ``metrics.json``.

    A clusterer predicts the clusters itself. On the features of a pretext, scaled to length 1,
    k-means does: fitted on the training images, the best of ten restarts. ``predictions.npz`` has
    the cluster of each evaluation image.

    Args:
        config (str): File of a full config, beside the work dir. With ``estimator`` it is one of
            scikit-learn on pixels or rows: nothing else is trained.
        num_clusters (int): K, of k-means and estimators.

    Returns:
        dict: See :func:`judge_clusters`, and ``kind`` (``clusterer``, ``pretext``, ``estimator`` or
        ``classifier``), ``knn`` (top-1 of a pretext, in percent), ``seconds`` and ``cpu_seconds``
        of the training, ``memory`` (peak of the process, of a GPU what was allocated on it, MB),
        ``device``, ``threads`` and ``load`` (that of the machine in the last minute).
    """
    with clear_errors():
        cfg = Config.fromfile(config)
    work_dir = Path(config).with_suffix('')
    watch = Stopwatch()
    if cfg.get('estimator'):
        with clear_errors():
            result, clusters, images = _judge_estimator(cfg, num_clusters, watch)
    else:
        runner = open_run(config)
        runner.register_hook(watch)
        with clear_run_errors():
            runner.train()
            watch.stop()
            judge = _judge_pretext if _is_pretext(runner) else _judge_clusterer
            result, clusters, images, num_clusters = judge(runner, num_clusters)
    with clear_errors():
        result.update(judge_clusters(clusters, images, num_clusters))
    result.update(num_clusters=num_clusters, **watch.spent(), **_machine())
    with clear_run_errors():
        file = io.BytesIO()
        np.savez_compressed(file, image=images.names, cluster=clusters)
        write_atomically(work_dir / 'predictions.npz', file.getvalue())
        dump_atomically(work_dir / 'metrics.json', result)
    return result


class Stopwatch(Hook):
    """Time of a training, over all its parts where it was stopped and went on.

    What a part spent until it saved a checkpoint is kept in it.
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self._before = (0.0, 0.0)
        self._total: Optional[tuple] = None
        self._start: Optional[tuple] = None

    def start(self) -> None:
        """Begin."""
        self._start = (time.monotonic(), time.process_time())

    def stop(self) -> None:
        """End."""
        self._total = self._now()

    def spent(self) -> dict:
        """``seconds`` and ``cpu_seconds``."""
        return dict(zip(('seconds', 'cpu_seconds'), self._total))

    def before_train(self, runner: Runner) -> None:
        """The first step is next."""
        self.start()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep what was spent."""
        if self._start is not None:
            checkpoint['meta']['spent'] = list(self._now())

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Go on from it, unless it is another training's."""
        if runner._resume:
            self._before = tuple(checkpoint['meta'].get('spent', self._before))

    def _now(self) -> tuple:
        now = (time.monotonic(), time.process_time())
        if self._start is None:  # there was nothing left to train
            return self._before
        return tuple(
            before + end - begin
            for before, begin, end in zip(self._before, self._start, now, strict=True)
        )


def _is_pretext(runner: Runner) -> bool:
    return why_untestable(runner.cfg, unwrap_model(runner.model)) is not None


def _judge_clusterer(runner: Runner, num_clusters: int) -> tuple:
    model = unwrap_model(runner.model)
    file = Path(runner.work_dir) / 'predictions.npz'
    runner.test_evaluator.metrics.append(DumpClusters(str(file)))
    runner.test()
    with np.load(file, allow_pickle=False) as kept:
        clusters = kept['cluster']
    images = open_images(runner.cfg, 'test')
    # What predicts classes has learned them from labels.
    kind = 'clusterer' if isinstance(model, BaseClusterer) else 'classifier'
    return dict(kind=kind), clusters, images, getattr(model, 'num_clusters', num_clusters)


def _judge_pretext(runner: Runner, num_clusters: int) -> tuple:
    checkpoint = newest_checkpoint(runner.work_dir)
    cfg = runner.cfg
    extract = FeatureExtractor(cfg, checkpoint, cache_dir=Path(runner.work_dir) / 'features')
    train, test = extract('train'), extract('test')
    rows = [unit_rows(split.rows) for split in (train, test)]
    seed = cfg.randomness.seed
    clusters = kmeans_clusters(*rows, num_clusters, _RESTARTS, seed)
    result = dict(kind='pretext')
    if None not in train.labels and None not in test.labels:
        k = min(_NEIGHBORS, len(train.labels))
        labels = np.array(test.labels), np.array(train.labels)
        found = knn_accuracy(rows[1], labels[0], rows[0], labels[1], k, [_TEMPERATURE])
        result['knn'] = found[_TEMPERATURE]
    return result, clusters, open_images(cfg, 'test'), num_clusters


def _judge_estimator(cfg: Config, num_clusters: int, watch: Stopwatch) -> tuple:
    from sklearn import cluster

    settings = dict(cfg.estimator)
    name = settings.pop('type')
    if not hasattr(cluster, name):
        raise ValueError(f'sklearn.cluster has no {name}')
    train, test = open_images(cfg, 'train'), open_images(cfg, 'test')
    # Rows of an encoder by their direction, as everywhere; pixels as they are.
    prepare = unit_rows if train.encoded else np.float64
    rows, others = prepare(train.rows()), prepare(test.rows())
    estimator = getattr(cluster, name)(
        n_clusters=num_clusters, random_state=cfg.randomness.seed, **settings
    )
    watch.start()
    labels = estimator.fit_predict(rows)
    watch.stop()
    if hasattr(estimator, 'predict'):
        clusters = estimator.predict(others)
    else:
        from sklearn.neighbors import KNeighborsClassifier

        # An image that it has not seen is in the cluster of the nearest that it has.
        clusters = KNeighborsClassifier(1).fit(rows, labels).predict(others)
    return dict(kind='estimator'), clusters.astype(np.int64), test


def _machine() -> dict:
    """What was used of which machine."""
    gpu = torch.cuda.is_available()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = peak if sys.platform == 'darwin' else peak * 1024  # bytes there, KiB elsewhere
    return dict(
        memory=(torch.cuda.max_memory_allocated() if gpu else peak) / 1e6,
        device=torch.cuda.get_device_name() if gpu else _processor(),
        threads=torch.get_num_threads(),
        load=os.getloadavg()[0],
    )


def _processor() -> str:
    with suppress(OSError):
        for line in Path('/proc/cpuinfo').read_text().splitlines():
            if line.startswith('model name'):
                return f'{line.partition(":")[2].strip()}, {os.cpu_count()} cores'
    import platform

    return f'{platform.processor() or platform.machine()}, {os.cpu_count()} cores'
