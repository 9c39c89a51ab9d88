"""Speed and memory as ratios, each to a named reference that is measured in turn with it.

A ratio is the candidate's time over the reference's: below 1 it is faster. Runs are made in turn,
so that other work on the machine hits both, and the median of the ratios of neighbours is given.

Usage: python benchmarks/run.py [--quick] [--only NAME ...] [--device cpu] [--threads 1]

--quick runs everything at toy size, to see that it works; its figures mean nothing. Lightly, POT
and timm are compared with where they are installed.
"""

import argparse
import platform
import sys
import time
from datetime import date
from pathlib import Path
from typing import List, Optional

import torch
from mmengine.registry import init_default_scope

import cdc_mm
from cdc_mm.memory import keep_freed_memory
from cdc_mm.tables import markdown_table

sys.path.insert(0, str(Path(__file__).parent))
from speed import BENCHMARKS
from speed.measuring import Row, Settings


def machine(settings: Settings) -> str:
    if settings.device != 'cpu':
        name = torch.cuda.get_device_name()
    else:
        info = Path('/proc/cpuinfo')
        lines = info.read_text().splitlines() if info.is_file() else []
        names = [line.partition(':')[2].strip() for line in lines if 'model name' in line]
        name = f'{len(names)} cores of {names[0]}' if names else platform.processor()
    return (
        f'{name}, {settings.threads} thread(s), Python {platform.python_version()}, torch '
        f'{torch.__version__}, cdc_mm {cdc_mm.__version__}, {date.today()}'
    )


def table(rows: List[Row]) -> str:
    lines = []
    for row in rows:
        figure = '' if row.ratio is None else f'{row.ratio:.2f}'
        if row.limit is not None and row.ratio is not None and row.ratio > row.limit:
            figure += ' (missed)'
        limit = '' if row.limit is None else f'{row.limit:.2f}'
        lines.append([row.what, row.candidate, row.reference, figure, limit, row.note])
    return markdown_table(['what', 'candidate', 'reference', 'ratio', 'limit', 'note'], lines)


def main(arguments: Optional[List[str]] = None) -> List[Row]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true', help='toy sizes, to see that it works')
    parser.add_argument('--only', nargs='+', choices=list(BENCHMARKS), metavar='NAME')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--threads', type=int, default=1)
    args = parser.parse_args(arguments)
    settings = Settings(args.quick, args.device, args.threads)
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    init_default_scope('mmpretrain')
    rows = []
    for name in args.only or BENCHMARKS:
        torch.manual_seed(0)
        start, begin = time.perf_counter(), len(rows)
        rows += BENCHMARKS[name](settings)
        # What there is, if the rest is not waited for.
        told = [f'{row.what}: {row.candidate}: {row.ratio}' for row in rows[begin:]]
        told.append(f'{name}: {time.perf_counter() - start:.0f} s')
        print(*told, sep='\n', file=sys.stderr, flush=True)
    print(machine(settings) + '\n')
    print(table(rows))
    return rows


if __name__ == '__main__':
    main()
