"""What happens to images and rows outside the training step."""

import contextlib
import io
import tempfile
from pathlib import Path
from statistics import median
from typing import Callable, List, Optional, Tuple

import encode
import kept_memory
import numpy as np
import torch
from augmentation import VIEW, stock_view
from mmengine.config import Config
from mmengine.dataset import Compose, default_collate
from mmpretrain.registry import MODELS, TRANSFORMS
from PIL import Image
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import (
    adjusted_rand_score,
    confusion_matrix,
    normalized_mutual_info_score,
)
from sklearn.neighbors import NearestNeighbors

from cdc_mm.datasets.cache_building import build_cache
from cdc_mm.evaluation.functional import label_metrics
from cdc_mm.features import nearest_neighbors
from cdc_mm.shipped import find_shipped

from .measuring import Row, Settings, alternate, ratio
from .sides import compare_sides


def augmentation(settings: Settings) -> List[Row]:
    """Two views of decoded images, normalised, beside MMPretrain's transforms of one image."""
    batch, few = settings.pick((512, 64), (8, 4))
    images = np.random.RandomState(0).randint(256, size=(batch, 32, 32, 3), dtype=np.uint8)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    cfg = Config.fromfile(find_shipped('configs/_base_/datasets/cifar10.py'))
    preprocessor = MODELS.build(cfg.data_preprocessor).to(settings.device)
    stock = two_views(VIEW)
    small = compare_views(
        'two views of an image of 32 pixels',
        lambda: preprocessor(dict(inputs=pixels), training=True),
        lambda: [stock(dict(img=x, img_shape=(32, 32))) for x in images[:few]],
        (batch, few),
        0.10,
        settings,
    )
    batch, few = settings.pick((32, 8), (4, 2))
    noise = np.random.RandomState(0).randint(256, size=(batch, 16, 22, 3), dtype=np.uint8)
    photos = [
        np.asarray(Image.fromarray(x).resize((341, 256), Image.Resampling.BICUBIC)) for x in noise
    ]
    cfg = Config.fromfile(find_shipped('configs/_base_/datasets/imagenet_mocov2.py'))
    device_part = MODELS.build(cfg.data_preprocessor).to(settings.device)
    host_part = two_views(cfg.crop)
    stock_photo = two_views(stock_view(224, 0.2, blur=True))

    def views_of_photos() -> None:
        items = [host_part(dict(img=x, img_shape=x.shape[:2])) for x in photos]
        device_part(default_collate(items), training=True)

    large = compare_views(
        'two views of 224 pixels of a decoded image of 341 x 256, MoCo v2',
        views_of_photos,
        lambda: [stock_photo(dict(img=x, img_shape=x.shape[:2])) for x in photos[:few]],
        (batch, few),
        1 / 3,
        settings,
    )
    return [small, large]


def two_views(steps: list) -> Compose:
    return Compose(
        [
            TRANSFORMS.build(dict(type='MultiView', num_views=2, transforms=[steps])),
            dict(type='PackInputs'),
        ]
    )


def compare_views(what, ours, theirs, counts, limit, settings: Settings) -> Row:
    """Both by image: a call of ours makes the views of more images than one of theirs."""
    seconds = alternate(dict(ours=ours, theirs=theirs), settings.pick(7, 1), settings.device)
    each = [value / counts[0] for value in seconds['ours']]
    reference = [value / counts[1] for value in seconds['theirs']]
    return Row(
        what,
        f'for the batch of {counts[0]} ({1 / median(each):.0f} images/s)',
        f"MMPretrain's transforms, image by image ({1 / median(reference):.0f} images/s)",
        ratio(each, reference),
        None if settings.quick else limit,
    )


def features(settings: Settings) -> List[Row]:
    """From JPEG files to rows on disk, beside rows in memory, with two data workers each."""
    count, size = settings.pick((256, 128), (6, 32))
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder) / 'images', count)
        script = [encode.__file__, f'{folder}/images', f'--size={size}']
        return compare_sides(
            'rows of JPEG files, EfficientNet-Lite0 at 128 pixels',
            ('EncoderRows, onto disk', 'a plain loop of timm and DataLoader'),
            ([*script, '--by=ours'], [*script, '--by=timm']),
            'timm',
            settings,
            rounds=3,
            limit=1 / 1.5,
            images=count,
        )


def decoded(settings: Settings) -> List[Row]:
    """The data worker's part of MoCo v2's views, from files and from a cache of decoded images."""
    count = settings.pick(100, 4)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_images(Path(folder) / 'images', count, (500, 375))
        cache = Path(folder) / 'cache'
        with contextlib.redirect_stdout(io.StringIO()):
            build_cache(paths[0].parent, cache, num_workers=0)

        def load_and_crop(cache: Optional[Path]) -> Callable:
            cfg = Config.fromfile(find_shipped('configs/_base_/datasets/imagenet_mocov2.py'))
            cfg.train_pipeline[0].cache = cache
            pipeline = Compose(cfg.train_pipeline)
            return lambda: [pipeline(dict(img_path=str(path))) for path in paths]

        seconds = alternate(
            dict(ours=load_and_crop(cache), theirs=load_and_crop(None)), settings.pick(9, 1)
        )
    speeds = [f'{count / median(seconds[name]):.0f} images/s' for name in ('ours', 'theirs')]
    return [
        Row(
            'JPEG files of 500 x 375 to two crops of 224 pixels, MoCo v2',
            f'LoadImage with a cache of 256 pixels ({speeds[0]})',
            f'LoadImage from files ({speeds[1]})',
            ratio(seconds['ours'], seconds['theirs']),
        )
    ]


def write_images(folder: Path, count: int, size: Tuple[int, int] = (200, 160)) -> List[Path]:
    """Smooth coloured JPEG files of a width and height in pixels."""
    folder.mkdir()
    rng = np.random.RandomState(0)
    paths = [folder / f'{i:04d}.jpg' for i in range(count)]
    for path in paths:
        small = Image.fromarray(rng.randint(256, size=(10, 12, 3), dtype=np.uint8))
        small.resize(size, Image.BICUBIC).save(path)
    return paths


def neighbors(settings: Settings) -> List[Row]:
    count, width, k = settings.pick((10_000, 512, 20), (200, 16, 5))
    rows = np.random.RandomState(0).randn(count, width).astype(np.float32)
    reference = NearestNeighbors(n_neighbors=k, metric='cosine', algorithm='brute').fit(rows)
    seconds = alternate(
        dict(
            ours=lambda: nearest_neighbors(rows, rows, k, settings.device),
            theirs=lambda: reference.kneighbors(rows),
        ),
        settings.pick(3, 1),
        settings.device,
    )
    return [
        Row(
            f'{k} neighbours of each of {count:,} rows of {width}',
            'nearest_neighbors',
            'scikit-learn, brute force',
            ratio(seconds['ours'], seconds['theirs']),
        )
    ]


def evaluation(settings: Settings) -> List[Row]:
    count = settings.pick(1_281_167, 2000)
    rows = []
    for clusters in settings.pick((1000, 21_000), (10, 20)):
        rng = np.random.RandomState(0)
        labels = rng.randint(clusters, size=count)
        right = rng.rand(count) < 0.5
        predicted = np.where(right, labels, rng.randint(clusters, size=count))
        seconds = alternate(
            dict(
                ours=lambda y=labels, c=predicted, k=clusters: label_metrics(y, c, k),
                theirs=lambda y=labels, c=predicted: dense_metrics(y, c),
            ),
            settings.pick(3 if clusters == 1000 else 1, 1),
        )
        rows.append(
            Row(
                f'ACC, NMI, ARI of {count:,} predictions in {clusters:,} clusters',
                f'label_metrics ({median(seconds["ours"]):.1f} s)',
                'scikit-learn and SciPy, one after the other',
                ratio(seconds['ours'], seconds['theirs']),
            )
        )
    return rows


def dense_metrics(labels: np.ndarray, predicted: np.ndarray) -> None:
    table = confusion_matrix(labels, predicted)
    table[linear_sum_assignment(table, maximize=True)].sum()
    normalized_mutual_info_score(labels, predicted)
    adjusted_rand_score(labels, predicted)


def kept(settings: Settings) -> List[Row]:
    """Each measurement is a process of its own."""
    if settings.quick or settings.device != 'cpu':
        return []
    rows = []
    for train, what in ((False, 'EfficientNet-Lite0 encodes, 128 px'), (True, 'a small network')):
        pairs = [
            [
                1 / kept_memory.measure(train=train, kept=kept, threads=settings.threads, batches=8)
                for kept in (True, False)
            ]
            for _ in range(3)
        ]
        rows.append(
            Row(what, 'freed memory is kept', 'as glibc is', ratio(*zip(*pairs, strict=True)))
        )
    return rows
