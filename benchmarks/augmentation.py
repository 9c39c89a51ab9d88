"""Two-view augmentation of CIFAR-10-sized images: batched over one at a time (mmpretrain).

Both run the augmentation of configs/_base_/datasets/cifar10.py on random 32x32 images, on one CPU
thread. Usage: python benchmarks/augmentation.py [--batch-size 512] [--device cpu]
"""

import argparse
import time
from statistics import median

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS, TRANSFORMS

import cdc_mm  # noqa: F401


def stock_view(size: int, least: float, blur: bool = False) -> list:
    """The same operations as stock per-image transforms (torchvision's jitter: mmcv's hue breaks
    on numpy 2).
    """
    jitter = dict(
        type='torchvision/ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1
    )
    steps = [
        dict(type='RandomResizedCrop', scale=size, crop_ratio_range=(least, 1.0), backend='pillow'),
        dict(type='RandomFlip', prob=0.5),
        dict(type='NumpyToPIL', to_rgb=True),
        dict(type='RandomApply', transforms=[jitter], prob=0.8),
        dict(type='PILToNumpy', to_bgr=True),
        dict(type='RandomGrayscale', prob=0.2, keep_channels=True),
    ]
    if blur:
        sigma = dict(magnitude_range=(0.1, 2.0), magnitude_std='inf')
        steps.append(dict(type='GaussianBlur', prob=0.5, **sigma))
    return steps


VIEW = stock_view(32, 0.08)


def rate(function, images: int, runs: int = 5) -> float:
    function()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return images / median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--batch-size', type=int, default=512)
    parser.add_argument('--device', default='cpu')
    args = parser.parse_args()
    torch.set_num_threads(1)
    init_default_scope('mmpretrain')

    images = np.random.RandomState(0).randint(
        256, size=(args.batch_size, 32, 32, 3), dtype=np.uint8
    )
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    cfg = Config.fromfile('configs/_base_/datasets/cifar10.py')
    preprocessor = MODELS.build(cfg.data_preprocessor).to(args.device)
    batched = rate(lambda: preprocessor(dict(inputs=batch), training=True), args.batch_size)

    multi_view = TRANSFORMS.build(dict(type='MultiView', num_views=2, transforms=[VIEW]))
    pipeline = Compose([multi_view, dict(type='PackInputs')])
    few = images[:64]
    single = rate(lambda: [pipeline(dict(img=x, img_shape=(32, 32))) for x in few], len(few), 3)

    print(f'batched, {args.device}:        {batched:9.0f} two-view images/s')
    print(f'one at a time, one core: {single:9.0f} two-view images/s')
    print(f'ratio {batched / single:.1f}')


if __name__ == '__main__':
    main()
