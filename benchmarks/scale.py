"""Neighbours and the training of a clusterer on a large store of rows: seconds and memory.

Besides, what it takes to find the images: the same small file under many names. Random rows are
written to a file that is read as a store's is, through a memory map. Exact search for neighbours
takes time by queries times rows, so that a part of the queries tells the whole; an epoch takes time
by its steps, so that some steps do.

Usage: python benchmarks/scale.py [--images 128000] [--width 1280] [--queries 8192] [--steps 128]
       [--clusters 10 1000] [--files 100000] [--folder DIR]
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS
from torch.utils.data import DataLoader, default_collate

from cdc_mm.features import other_neighbors, scan_images
from cdc_mm.features.row_dataset import RowDataset
from cdc_mm.models import SCAN

_CHUNK, _BATCH, _NEIGHBORS = 16_384, 1000, 20


def memory() -> str:
    """What the process holds and has held at most; pages of files can be taken back."""
    lines = dict(line.split(':', 1) for line in Path('/proc/self/status').read_text().splitlines())
    mib = {key: int(lines[key].split()[0]) // 1024 for key in ('RssAnon', 'RssFile', 'VmHWM')}
    return f'{mib["RssAnon"]:,} MiB own, {mib["RssFile"]:,} of files, at most {mib["VmHWM"]:,}'


def scan(folder: Path, count: int) -> None:
    """Find images in folders of a thousand, and work out their ids, as a store does."""
    for i in range(count):
        own = folder / f'images/{i // 1000:06}'
        if i % 1000 == 0:
            own.mkdir(parents=True)
            first = own / f'{i:09}.png'
            cv2.imwrite(str(first), np.zeros((8, 8, 3), np.uint8))
        else:
            os.link(first, own / f'{i:09}.png')
    init_default_scope('mmpretrain')
    before, start = own_mib(), time.perf_counter()
    cfg = dict(type='ImageFolder', data_root=str(folder / 'images'), with_label=False, pipeline=[])
    dataset = DATASETS.build(cfg)
    images = scan_images(dataset)
    took, size = time.perf_counter() - start, own_mib() - before
    print(
        f'{len(images.names):,} images found in {took:.1f} s, {1024 * size / count:.2f} KiB each',
        flush=True,
    )


def own_mib() -> float:
    lines = dict(line.split(':', 1) for line in Path('/proc/self/status').read_text().splitlines())
    return int(lines['RssAnon'].split()[0]) / 1024


def make_rows(path: Path, count: int, width: int) -> np.ndarray:
    """A memory map of random rows, float32."""
    rng = np.random.default_rng(0)
    rows = np.lib.format.open_memmap(path, 'w+', np.float32, (count, width))
    for start in range(0, count, _CHUNK):
        part = rows[start : start + _CHUNK]
        part[:] = rng.standard_normal(part.shape, np.float32)
    rows.flush()
    del rows
    return np.load(path, mmap_mode='r')


def train(rows: np.ndarray, neighbors: np.ndarray, num_clusters: int, steps: int) -> float:
    """Seconds of a step as configs/folder/scan_lite0.py trains."""
    dataset = RowDataset(rows, dict(view1='image', neighbor='neighbor'), (), neighbors)
    loader = DataLoader(dataset, _BATCH, shuffle=True, collate_fn=default_collate)
    model = SCAN(num_clusters, in_channels=rows.shape[1], num_heads=32, num_components=128)
    model.fit_rows(np.asarray(rows[:20_000]))
    model.to(get_device()).train()
    optimizer = torch.optim.Adam(model.head.parameters(), lr=0.1)
    start = time.perf_counter()
    for step, batch in enumerate(loader):
        views = {name: view.to(get_device()) for name, view in batch['inputs'].items()}
        losses = model(views, mode='loss')
        optimizer.zero_grad()
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        optimizer.step()
        if step + 1 == steps:
            break
    return (time.perf_counter() - start) / (step + 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=128_000)
    parser.add_argument('--width', type=int, default=1280)
    parser.add_argument('--queries', type=int, default=8192)
    parser.add_argument('--steps', type=int, default=128)
    parser.add_argument('--clusters', type=int, nargs='+', default=[10, 1000])
    parser.add_argument('--files', type=int, default=100_000)
    parser.add_argument('--folder')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        if args.files:
            scan(Path(folder), args.files)
        rows = make_rows(Path(folder) / 'rows.npy', args.images, args.width)
        print(f'{args.images:,} rows of {args.width}, {rows.nbytes / 2**30:.2f} GiB', flush=True)
        if args.queries:
            start = time.perf_counter()
            other_neighbors(rows, _NEIGHBORS, get_device(), 0, args.queries)
            took = time.perf_counter() - start
            pair = took / (args.queries * args.images)
            print(
                f'neighbours of {args.queries:,}: {took:.1f} s, {memory()}\n'
                f'of all: {pair * args.images**2:,.0f} s; of ten times the images: '
                f'{pair * (10 * args.images) ** 2 / 3600:.1f} h',
                flush=True,
            )
        neighbors = np.random.default_rng(0).integers(
            args.images, size=(args.images, _NEIGHBORS), dtype=np.int32
        )
        for num_clusters in args.clusters:
            seconds = train(rows, neighbors, num_clusters, args.steps)
            epoch = seconds * -(-args.images // _BATCH)
            print(
                f'{num_clusters} clusters: {1000 * seconds:.0f} ms a step, {epoch:.0f} s an epoch; '
                f'of ten times the images {10 * epoch / 60:.1f} min; {memory()}',
                flush=True,
            )


if __name__ == '__main__':
    main()
