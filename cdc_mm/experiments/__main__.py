"""Train and test one run of several: what tools/run_seeds.py and tools/leaderboard.py start."""

import argparse

from .judging import train_and_judge
from .seeds import train_and_test


def main() -> None:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='file of a full config, beside the work dir')
    parser.add_argument('--load-from', help="weights to start from instead of the config's")
    parser.add_argument('--launcher', choices=['none', 'pytorch'], default='none')
    parser.add_argument(
        '--judge', type=int, metavar='K', help='as a run of a leaderboard, with K clusters'
    )
    args = parser.parse_args()
    if args.judge is not None:
        train_and_judge(args.config, args.judge)
    else:
        train_and_test(args.config, args.load_from, args.launcher)


if __name__ == '__main__':
    main()
