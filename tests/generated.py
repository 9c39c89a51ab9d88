"""Small data sets of random images in the files and folders of the real ones."""

import hashlib
import json
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


def imagenet(root: Path, synsets=('n01440764', 'n01443537', 'n01484850', 'n01491361')) -> Path:
    """root/{train,val}/<synset>/*.JPEG and root/meta/{train,val}.txt"""
    rng = np.random.RandomState(0)
    (root / 'meta').mkdir(parents=True)
    for split in ('train', 'val'):
        lines = []
        for i, synset in enumerate(synsets):
            name = f'{synset}/{i}.JPEG'
            path = root / split / name
            path.parent.mkdir(parents=True)
            # Photographs differ in size and shape.
            size = (240 + 20 * (i % 4), 300 - 10 * (i % 4), 3)
            Image.fromarray(rng.randint(256, size=size, dtype=np.uint8)).save(path)
            lines.append(f'{name} {i}')
        (root / 'meta' / f'{split}.txt').write_text('\n'.join(lines))
    return root


def cifar10(root: Path, monkeypatch) -> Path:
    """root/cifar-10-batches-py/{data_batch_1..5,test_batch,batches.meta}, with their checksums."""
    from mmpretrain.datasets import CIFAR10

    rng = np.random.RandomState(0)
    names = [name for name, _ in (*CIFAR10.train_list, *CIFAR10.test_list)]
    batches = {
        name: dict(data=_cifar_pixels(rng), labels=rng.randint(10, size=4).tolist())
        for name in names
    }
    batches['batches.meta'] = dict(label_names=[str(i) for i in range(10)])
    return _write_cifar(root, monkeypatch, CIFAR10, batches)


def cifar100(root: Path, monkeypatch) -> Path:
    """root/cifar-100-python/{train,test,meta}, with their checksums."""
    from mmpretrain.datasets import CIFAR100

    rng = np.random.RandomState(0)
    batches = {
        name: dict(
            data=_cifar_pixels(rng),
            fine_labels=rng.randint(100, size=4).tolist(),
            coarse_labels=rng.randint(20, size=4).tolist(),
        )
        for name in ('train', 'test')
    }
    batches['meta'] = dict(fine_label_names=[str(i) for i in range(100)])
    return _write_cifar(root, monkeypatch, CIFAR100, batches)


def fashion_mnist(root: Path) -> Path:
    """root/{train,t10k}-{images-idx3,labels-idx1}-ubyte, 12 and 8 images"""
    rng = np.random.RandomState(0)
    root.mkdir(parents=True)
    for name, count in (('train', 12), ('t10k', 8)):
        images = rng.randint(256, size=(count, 28, 28), dtype=np.uint8)
        labels = rng.randint(10, size=count, dtype=np.uint8)
        for kind, array in (('images-idx3', images), ('labels-idx1', labels)):
            # Two zeros, the code of uint8, the number of dimensions, and each of them.
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, '>i4').tobytes()
            (root / f'{name}-{kind}-ubyte').write_bytes(header + array.tobytes())
    return root


def _cifar_pixels(rng) -> np.ndarray:
    return rng.randint(256, size=(4, 3072), dtype=np.uint8)


def _write_cifar(root: Path, monkeypatch, dataset, batches: dict) -> Path:
    folder = root / dataset.base_folder
    folder.mkdir(parents=True)
    checksums = {}
    for name, content in batches.items():
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
        checksums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    for files in ('train_list', 'test_list'):
        checked = [[name, checksums[name]] for name, _ in getattr(dataset, files)]
        monkeypatch.setattr(dataset, files, checked)
    meta = {**dataset.meta, 'md5': checksums[dataset.meta['filename']]}
    monkeypatch.setattr(dataset, 'meta', meta)
    return root


def stl10(root: Path) -> Path:
    """root/stl10_binary/{train_X,train_y,unlabeled_X,test_X,test_y}.bin"""
    rng = np.random.RandomState(0)
    folder = root / 'stl10_binary'
    folder.mkdir(parents=True)
    for split, count in (('train', 4), ('unlabeled', 6), ('test', 5)):
        images = rng.randint(256, size=(count, 96, 96, 3), dtype=np.uint8)
        # Channel by channel, each of them column by column.
        images.transpose(0, 3, 2, 1).tofile(folder / f'{split}_X.bin')
        if split != 'unlabeled':
            rng.randint(1, 11, size=count).astype(np.uint8).tofile(folder / f'{split}_y.bin')
    return root


VOC_OBJECTS = {
    # Image: (class, difficult) of its objects; None is an object without a mark.
    '000001': [('person', 0), ('dog', 0), ('dog', 0)],
    '000002': [('dog', 1), ('cat', 0)],
    '000003': [('person', None)],
    '000004': [('person', 1)],
    '000005': [('aeroplane', 0), ('person', 1), ('person', 0)],
    '000006': [('cat', 0), ('dog', 0)],
}


def voc(root: Path) -> Path:
    """root/{JPEGImages,Annotations,ImageSets/Main}: three images of trainval, three of test."""
    rng = np.random.RandomState(0)
    for folder in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (root / folder).mkdir(parents=True)
    for name, objects in VOC_OBJECTS.items():
        pixels = rng.randint(256, size=(50, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / 'JPEGImages' / f'{name}.jpg')
        entries = ''.join(
            f'<object><name>{label}</name>'
            + (f'<difficult>{mark}</difficult>' if mark is not None else '')
            + '<part><name>head</name></part></object>'
            for label, mark in objects
        )
        path = root / 'Annotations' / f'{name}.xml'
        path.write_text(f'<annotation><filename>{name}.jpg</filename>{entries}</annotation>')
    for split, names in (('trainval', '123'), ('test', '456')):
        lines = '\n'.join(f'00000{name}' for name in names)
        (root / 'ImageSets/Main' / f'{split}.txt').write_text(lines + '\n')
    return root


def places205(root: Path) -> Path:
    """root/trainvalsplit_places205/{train,val}_places205.csv and the images of the archive."""
    rng = np.random.RandomState(0)
    (root / 'trainvalsplit_places205').mkdir(parents=True)
    for split in ('train', 'val'):
        lines = []
        for i, (name, label) in enumerate((('a/abbey', 0), ('y/yard', 204))):
            path = root / 'data/vision/torralba/deeplearning/images256' / name / f'{split}_{i}.jpg'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.randint(256, size=(256, 256, 3), dtype=np.uint8)).save(path)
            lines.append(f'{name}/{path.name} {label}\n')
        (root / f'trainvalsplit_places205/{split}_places205.csv').write_text(''.join(lines))
    return root


def faulty_files(folder: Path) -> None:
    """folder/{empty,text,cut}.jpg, which no decoder can read."""
    (folder / 'empty.jpg').touch()
    (folder / 'text.jpg').write_text('not an image')
    Image.new('RGB', (32, 32), 'red').save(folder / 'whole.jpg')
    content = (folder / 'whole.jpg').read_bytes()
    (folder / 'cut.jpg').write_bytes(content[: len(content) // 2])
    (folder / 'whole.jpg').unlink()


def _boxes(rng, count: int, height: int, width: int):
    """Whole-numbered boxes (x1, y1, x2, y2) that lie within the image, 1-based and inclusive."""
    for _ in range(count):
        x, y = rng.randint(1, width // 2), rng.randint(1, height // 2)
        yield x, y, x + rng.randint(12, width // 2), y + rng.randint(12, height // 2)


def _image_with_boxes(rng, path: Path, boxes, height: int, width: int) -> None:
    pixels = rng.randint(100, size=(height, width, 3), dtype=np.uint8)
    for x1, y1, x2, y2 in boxes:
        pixels[y1 - 1 : y2, x1 - 1 : x2] += 120
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def voc_detection(root: Path, classes, **splits: int) -> Path:
    """root/{Annotations,ImageSets/Main,JPEGImages}, images by split; each has every class once."""
    rng = np.random.RandomState(0)
    (root / 'ImageSets/Main').mkdir(parents=True)
    (root / 'Annotations').mkdir()
    for split, count in splits.items():
        ids = [f'{split}_{i:06}' for i in range(count)]
        (root / f'ImageSets/Main/{split}.txt').write_text('\n'.join(ids) + '\n')
        for i, image_id in enumerate(ids):
            height, width = 70 + 5 * i, 90
            boxes = list(_boxes(rng, len(classes), height, width))
            objects = ''.join(
                f'<object><name>{name}</name><pose>Unspecified</pose><truncated>0</truncated>'
                f'<difficult>0</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>'
                f'<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>'
                for name, (x1, y1, x2, y2) in zip(classes, boxes)
            )
            (root / f'Annotations/{image_id}.xml').write_text(
                f'<annotation><size><width>{width}</width><height>{height}</height>'
                f'<depth>3</depth></size>{objects}</annotation>'
            )
            _image_with_boxes(rng, root / f'JPEGImages/{image_id}.jpg', boxes, height, width)
    return root


def coco_detection(root: Path, categories, masks: bool = True) -> Path:
    """root/{train,val}2017/*.jpg and root/annotations/instances_{train,val}2017.json"""
    rng = np.random.RandomState(0)
    (root / 'annotations').mkdir(parents=True)
    for split in ('train', 'val'):
        images, annotations = [], []
        for i in range(1, 4):
            height, width = 70 + 5 * i, 90
            boxes = list(_boxes(rng, 3, height, width))
            name = f'{split}{i:012}.jpg'
            _image_with_boxes(rng, root / f'{split}2017/{name}', boxes, height, width)
            images.append(dict(id=i, file_name=name, height=height, width=width))
            for x1, y1, x2, y2 in boxes:
                x, y, w, h = (int(v) for v in (x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1))
                annotation = dict(
                    id=len(annotations) + 1,
                    image_id=i,
                    category_id=categories[rng.randint(len(categories))]['id'],
                    bbox=[x, y, w, h],
                    area=w * h,
                    iscrowd=0,
                )
                if masks:
                    corners = [x, y, x + w, y, x + w, y + h, x, y + h]
                    annotation['segmentation'] = [corners]
                annotations.append(annotation)
        content = dict(images=images, annotations=annotations, categories=list(categories))
        file = root / f'annotations/instances_{split}2017.json'
        file.write_text(json.dumps(content))
    return root
