"""One side of a comparison: its work once for each line read.

Each side is a process of its own, as a user has it: where ours works, freed memory is kept on a
CPU; the others leave the allocator of glibc as it is, unless --kept. The seconds of processors are
printed each time.

Usage: python benchmarks/side.py NAME [--kept] [--quick] [--threads 1] [--device cpu]
"""

import argparse
import sys
from contextlib import redirect_stdout
from functools import partial

import torch
from processes import begin, serve
from speed.measuring import Settings, wait
from speed.parts import our_sinkhorn, pot_sinkhorn
from speed.training import cdc_step, lightly_step, mmpretrain_step

SIDES = dict(
    cdc=cdc_step,
    cdc_one_way=partial(cdc_step, symmetric=False),
    mmpretrain=mmpretrain_step,
    lightly=lightly_step,
    sinkhorn_knopp=our_sinkhorn,
    pot=pot_sinkhorn,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('side', choices=list(SIDES))
    parser.add_argument('--quick', action='store_true')
    args = begin(parser)
    torch.manual_seed(0)
    with redirect_stdout(sys.stderr):
        work = SIDES[args.side](Settings(args.quick, args.device, args.threads))

    def done() -> None:
        work()
        wait(args.device)

    serve(done)


if __name__ == '__main__':
    main()
