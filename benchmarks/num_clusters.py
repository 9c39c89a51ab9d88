"""Whether choose_num_clusters finds the number of classes, on rows whose classes are known.

Draws sets of classes, takes the rows of each and asks; labels say which rows, and what is right.
The digits (pixels) come with scikit-learn; other rows are files.
Usage: python benchmarks/num_clusters.py [--rows ROWS.npy --labels LABELS.npy] [--classes 3 5 10]
[--sets 5] [--seed 100] [--max-rows 5000]
"""

import argparse

import numpy as np
from sklearn.datasets import load_digits

from cdc_mm.apis import choose_num_clusters
from cdc_mm.tables import markdown_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--rows', help='default: pixels of the digits')
    parser.add_argument('--labels')
    parser.add_argument('--classes', nargs='+', type=int, default=[3, 5, 10])
    parser.add_argument('--sets', type=int, default=5, help='of classes, for each number of them')
    parser.add_argument('--seed', type=int, default=100, help='which classes and rows')
    parser.add_argument('--max-rows', type=int, default=5000)
    args = parser.parse_args()
    if args.rows:
        rows, labels = np.load(args.rows), np.load(args.labels)
    else:
        rows, labels = load_digits(return_X_y=True)
    rng = np.random.RandomState(args.seed)
    names, lines = np.unique(labels), []
    for count in args.classes:
        drawn = set()
        for _ in range(1 if count == len(names) else args.sets):
            chosen = tuple(sorted(rng.choice(names, count, replace=False).tolist()))
            if chosen in drawn:
                continue
            drawn.add(chosen)
            index = rng.permutation(np.flatnonzero(np.isin(labels, chosen)))[: args.max_rows]
            found = choose_num_clusters(rows[index], 2, 20)
            lines.append(
                (count, ' '.join(map(str, chosen)), len(index), *found.picks.values(), found.best,
                 f'{found.low} to {found.high}', found.sureness)
            )  # fmt: skip
            print(*lines[-1], flush=True)
    header = (
        'K',
        'classes',
        'rows',
        'agreement',
        'silhouette',
        'bic',
        'answer',
        'range',
        'criteria',
    )
    print(markdown_table(header, lines))
    for sureness in ('agree', 'range', 'edge', 'none'):
        own = [line for line in lines if line[-1] == sureness]
        hits = sum(line[0] == line[6] for line in own)
        near = sum(abs(line[0] - line[6]) <= 1 for line in own)
        within = sum(min(line[3:6]) <= line[0] <= max(line[3:6]) for line in own)
        print(f'{sureness}: {hits} of {len(own)} right, {near} within 1, {within} in the range')


if __name__ == '__main__':
    main()
