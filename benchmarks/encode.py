"""Rows of a folder of images, by EncoderRows or by a plain loop of timm: a pass for each line read.

Each side is a process of its own, as a user has it: the plain loop leaves the allocator of glibc as
it is, unless --kept. After each pass the seconds of processors are printed, data workers included.

Usage: python benchmarks/encode.py FOLDER --by ours|timm [--kept] [--size 128] [--threads 1]
"""

import argparse
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Callable

import torch
from PIL import Image
from processes import begin, serve
from torch.utils.data import DataLoader, Dataset

NAME, BATCH, WORKERS = 'tf_efficientnet_lite0', 64, 2


def plain_loop(folder: str, size: int, device: str) -> Callable:
    import timm

    network = timm.create_model(NAME, num_classes=0).eval().to(device)
    config = dict(timm.data.resolve_model_data_config(network), input_size=(3, size, size))
    files = Files(sorted(Path(folder).iterdir()), timm.data.create_transform(**config))

    def encode() -> None:
        with torch.inference_mode():
            loader = DataLoader(files, BATCH, num_workers=WORKERS)
            torch.cat([network(batch.to(device)).cpu() for batch in loader])

    return encode


class Files(Dataset):
    """Files as timm's own transform gives them."""

    def __init__(self, paths: list, transform: Callable) -> None:
        self.paths = paths
        self.transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.transform(Image.open(self.paths[index]).convert('RGB'))


def encoder_rows(folder: str, size: int) -> Callable:
    from mmengine.registry import init_default_scope
    from mmpretrain.registry import MODELS

    from cdc_mm.features import EncoderRows

    init_default_scope('mmpretrain')
    encoder = MODELS.build(dict(type='TimmEncoder', name=NAME, freeze=True))
    encoder.input_size = size
    images = EncoderRows(encoder).open(dict(type='ImageFolder', data_root=folder))

    def encode() -> None:
        # A store of its own each time: what is known is not computed again.
        with tempfile.TemporaryDirectory() as store:
            extract = EncoderRows(encoder, store, batch_size=BATCH, num_workers=WORKERS)
            extract.store(images)

    return encode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder')
    parser.add_argument('--by', choices=['ours', 'timm'], required=True)
    parser.add_argument('--size', type=int, default=128)
    args = begin(parser)
    with redirect_stdout(sys.stderr):
        if args.by == 'ours':
            encode = encoder_rows(args.folder, args.size)
        else:
            encode = plain_loop(args.folder, args.size, args.device)
    serve(encode)


if __name__ == '__main__':
    main()
