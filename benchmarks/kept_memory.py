"""What it brings that freed memory is kept on a CPU: images a second, with and without.

Usage: python benchmarks/kept_memory.py [--threads 1] [--batches 12]
"""

import argparse
import subprocess
import sys

CODE = """
import time, torch
from mmpretrain.registry import MODELS
import cdc_mm
from cdc_mm.memory import keep_freed_memory
if {kept}:
    keep_freed_memory()
torch.set_num_threads({threads})
torch.manual_seed(0)
if {train}:
    network = MODELS.build(dict(type='SmallConvNet', channels=(32, 64, 128, 256)))
    images = torch.randn(256, 3, 32, 32)
    step = lambda: network(images)[0].square().mean().backward()
else:
    network = MODELS.build(dict(type='TimmEncoder', name='tf_efficientnet_lite0', freeze=True))
    images = torch.randn(64, 3, 128, 128)
    step = lambda: network.eval()(images)
step()
start = time.perf_counter()
for _ in range({batches}):
    step()
print({batches} * len(images) / (time.perf_counter() - start))
"""


def measure(**settings) -> float:
    done = subprocess.run(
        [sys.executable, '-c', CODE.format(**settings)], capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--batches', type=int, default=12)
    args = parser.parse_args()
    settings = dict(threads=args.threads, batches=args.batches)
    for train, name in ((False, 'EfficientNet-Lite0 encodes, 128 px'), (True, 'a small network')):
        # In turn, as the machine may have other work.
        rates = [
            [measure(train=train, kept=kept, **settings) for kept in (False, True)]
            for _ in range(3)
        ]
        plain, kept = (sorted(column)[1] for column in zip(*rates, strict=True))
        print(f'{name}: {plain:.0f} images/s as glibc is, {kept:.0f} kept: {kept / plain:.2f} x')


if __name__ == '__main__':
    main()
