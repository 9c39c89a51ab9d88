"""Small data sets of random images in the files and folders of the real ones."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
from PIL import Image


def image_folder(root: Path, images_per_class: int = 4, size: int = 32, suffix='.jpg') -> Path:
    """root/{train,test}/{a,b}/*.jpg"""
    rng = np.random.RandomState(0)
    for split in ('train', 'test'):
        for name in ('a', 'b'):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(images_per_class):
                pixels = rng.randint(256, size=(size, size, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f'{i}{suffix}')
    return root


def imagenet(root: Path) -> Path:
    """root/{train,val}/<synset>/*.JPEG and root/meta/{train,val}.txt"""
    rng = np.random.RandomState(0)
    (root / 'meta').mkdir(parents=True)
    for split in ('train', 'val'):
        lines = []
        for i in range(4):
            name = f'n0144076{i}/{i}.JPEG'
            path = root / split / name
            path.parent.mkdir(parents=True)
            # Photographs differ in size and shape.
            pixels = rng.randint(256, size=(240 + 20 * i, 300 - 10 * i, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
            lines.append(f'{name} {i}')
        (root / 'meta' / f'{split}.txt').write_text('\n'.join(lines))
    return root


def cifar10(root: Path, monkeypatch) -> Path:
    """root/cifar-10-batches-py/{data_batch_1..5,test_batch,batches.meta}, with their checksums."""
    from mmpretrain.datasets import CIFAR10

    folder = root / CIFAR10.base_folder
    folder.mkdir(parents=True)

    def write(name, content):
        path = folder / name
        path.write_bytes(pickle.dumps(content, protocol=2))
        return hashlib.md5(path.read_bytes()).hexdigest()

    rng = np.random.RandomState(0)
    checksums = {}
    for name in [f'data_batch_{i}' for i in range(1, 6)] + ['test_batch']:
        data = rng.randint(256, size=(4, 3072), dtype=np.uint8)
        checksums[name] = write(name, dict(data=data, labels=rng.randint(10, size=4).tolist()))
    meta = write('batches.meta', dict(label_names=[str(i) for i in range(10)]))
    monkeypatch.setattr(CIFAR10, 'train_list', [[n, c] for n, c in checksums.items()][:5])
    monkeypatch.setattr(CIFAR10, 'test_list', [['test_batch', checksums['test_batch']]])
    monkeypatch.setattr(CIFAR10, 'meta', {**CIFAR10.meta, 'md5': meta})
    return root
