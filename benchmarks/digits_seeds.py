"""Mean held-out figures of the quickstart over seeds, beside k-means on pixels.

Usage: python benchmarks/digits_seeds.py [--seeds 0 1 2] [--work-dir work_dirs/digits_seeds]
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/digits_seeds'))
    args = parser.parse_args()

    results = []
    for seed in args.seeds:
        work_dir = args.work_dir / f'seed{seed}'
        start = time.perf_counter()
        subprocess.run(
            [
                sys.executable,
                ROOT / 'tools' / 'quickstart.py',
                '--seed',
                str(seed),
                '--work-dir',
                work_dir,
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        seconds = time.perf_counter() - start
        result = json.loads((work_dir / 'quickstart.json').read_text())
        results.append(result)
        print(
            f'seed {seed}: {seconds:.0f} s, '
            + ', '.join(
                f'{method} ACC {result[method]["acc"]:.1f}'
                for method in ('CDC', 'k-means on pixels')
            ),
            flush=True,
        )

    print(
        f'\n{len(results)} seeds, 360 held-out digits, {os.cpu_count()} cores, {platform.machine()}'
    )
    means = {}
    for method in ('k-means on pixels', 'CDC'):
        cells = []
        for name in ('acc', 'nmi', 'ari'):
            values = [result[method][name] for result in results]
            means[method, name] = np.mean(values)
            cells.append(f'{name.upper()} {np.mean(values):.1f} +- {np.std(values):.1f}')
        print(f'{method:20}' + '  '.join(cells))
    ratio = means['CDC', 'acc'] / means['k-means on pixels', 'acc']
    print(f'ACC of CDC over ACC of k-means: {ratio:.2f}')


if __name__ == '__main__':
    main()
