"""Peak memory of feature extraction by the number of images: cache on disk over rows in memory.

Every image is the same small file under N names; the network is tiny with 2048 outputs. The growth
of the peak by image, times ImageNet's 1,281,167, tells what extraction over ImageNet takes
beyond the cache file. Usage: python benchmarks/feature_memory.py [--sizes 4000 16000]
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

IMAGENET = 1_281_167
WIDTH = 2048


def peak_mib(count: int, mode: str, folder: Path) -> float:
    """Extract features of ``count`` images in this process and return its peak memory."""
    import cv2
    import torch
    from mmengine.config import Config
    from mmpretrain.registry import MODELS

    from cdc_mm import apis
    from cdc_mm.features import evaluation_loader

    torch.set_num_threads(1)
    cv2.imwrite(str(folder / 'x.png'), np.zeros((8, 8, 3), np.uint8))
    for split, lines in (('train', count), ('test', 1)):
        (folder / f'{split}.txt').write_text(''.join(f'{i}.png 0\n' for i in range(lines)))
    for i in range(count):
        os.link(folder / 'x.png', folder / f'{i}.png')

    def loader(split):
        pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
        dataset = dict(
            type='CustomDataset',
            data_root=str(folder),
            ann_file=f'{split}.txt',
            metainfo=dict(classes=('a',)),
            pipeline=pipeline,
        )
        return dict(batch_size=256, num_workers=0, dataset=dataset)

    cfg = Config(
        dict(
            default_scope='mmpretrain',
            model=dict(
                type='ImageClassifier',
                backbone=dict(type='SmallConvNet', channels=(2, WIDTH), strides=(2, 4)),
            ),
            data_preprocessor=dict(type='ClsDataPreprocessor', mean=[0.0], std=[1.0]),
            train_dataloader=loader('train'),
            test_dataloader=loader('test'),
        )
    )
    model = MODELS.build({'data_preprocessor': dict(cfg.data_preprocessor), **cfg.model})
    torch.save(model.state_dict(), folder / 'x.pth')
    extract = apis.FeatureExtractor(cfg, str(folder / 'x.pth'), cache_dir=folder)
    if mode == 'cache':
        rows = extract('train').rows
    else:
        batches = apis.iterate_outputs(
            extract.model, evaluation_loader(cfg, extract._datasets['train'])
        )
        rows = np.concatenate([part.numpy() for part, _ in batches])
    assert rows.shape == (count, WIDTH)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--sizes', type=int, nargs=2, default=[4000, 16000])
    parser.add_argument('--child', nargs=2, metavar=('N', 'MODE'), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        with tempfile.TemporaryDirectory() as folder:
            peak = peak_mib(int(args.child[0]), args.child[1], Path(folder))
        print(f'\npeak {peak}')
        return

    growth = {}
    for mode, name in (('cache', 'cache on disk'), ('memory', 'rows in memory')):
        peaks = []
        for size in args.sizes:
            command = [sys.executable, __file__, '--child', str(size), mode]
            out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            peaks.append(float(out.rsplit('peak ', 1)[1]))
            print(f'{name:15} {size:7} images: peak {peaks[-1]:7.0f} MiB', flush=True)
        growth[mode] = (peaks[1] - peaks[0]) / (args.sizes[1] - args.sizes[0])
        total = (peaks[0] + growth[mode] * (IMAGENET - args.sizes[0])) / 1024
        print(
            f'{name:15} growth {1024 * growth[mode]:.2f} KiB an image; ImageNet would take '
            f'{total:.1f} GiB'
        )
    print(f'growth of the cache over growth in memory: {growth["cache"] / growth["memory"]:.3f}')


if __name__ == '__main__':
    main()
