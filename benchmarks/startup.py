"""Time of `tools/train.py --help` over the time of importing argparse and mmengine.

Usage: python benchmarks/startup.py [--runs 7]
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = {
    'tools/train.py --help': [sys.executable, str(ROOT / 'tools' / 'train.py'), '--help'],
    'import argparse, mmengine': [sys.executable, '-c', 'import argparse, mmengine'],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--runs', type=int, default=7)
    args = parser.parse_args()

    seconds = {name: [] for name in COMMANDS}
    for i in range(args.runs + 1):
        for name, command in COMMANDS.items():  # in turn, so that a drift hits both
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            if i > 0:  # the first run warms the file cache
                seconds[name].append(time.perf_counter() - start)
    for name, values in seconds.items():
        print(f'{name:28} median {median(values):.2f} s of {args.runs} runs')
    ours, reference = (median(values) for values in seconds.values())
    print(f'ratio {ours / reference:.2f}')


if __name__ == '__main__':
    main()
