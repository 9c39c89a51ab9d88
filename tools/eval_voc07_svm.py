#!/usr/bin/env python
"""VOC07 classification by linear SVMs on the features of a checkpoint."""

import argparse

import early  # noqa: F401  (first)
import numpy as np
from feature_args import add_feature_args, build_extractor
from mmengine.utils import track_iter_progress


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config',
        help='config file: network and multi-label data, as configs/linear/linear_r50_voc07_svm.py',
    )
    add_feature_args(parser)
    parser.add_argument('--out', help='file for the metrics (.json or .yaml)')
    parser.add_argument('--cost', type=float, default=0.5, help='C of the SVMs (default: 0.5)')
    parser.add_argument(
        '--low-shot', action='store_true', help='also train on few images of each class'
    )
    parser.add_argument(
        '--shots', type=int, nargs='+', default=[1, 2, 4, 8, 16], help='default: 1 2 4 8 16'
    )
    parser.add_argument('--draws', type=int, default=5, help='low-shot samples (default: 5)')
    parser.add_argument('--seed', type=int, default=0, help='of the low-shot samples (default: 0)')
    return parser.parse_args()


def evaluate(targets: np.ndarray, scores: np.ndarray) -> dict:
    """Both metrics in percent, and the average precision of each class."""
    from cdc_mm.evaluation.functional import class_average_precisions, per_image_average_precision

    precisions = 100 * class_average_precisions(targets, scores)
    return dict(
        class_map=float(np.nanmean(precisions)),
        per_image_ap=100 * per_image_average_precision(targets, scores),
        class_ap=precisions.tolist(),
    )


def main() -> None:
    args = parse_args()

    # After parsing, so that --help and mistyped flags answer at once.
    from cdc_mm import apis
    from cdc_mm.atomic import check_output, dump_atomically
    from cdc_mm.evaluation.functional import low_shot_rows, svm_scores
    from cdc_mm.tables import markdown_table, mean_std

    with apis.clear_errors():
        if args.out:
            check_output(args.out, as_object=True)
        extract = build_extractor(args, 'backbone')
        num_classes = len(extract.classes)
        for split, name in (('train', 'training'), ('test', 'test')):
            apis.multi_hot(extract.labels[split], num_classes, name)

    with apis.clear_run_errors():
        train, train_labels, _ = extract('train')
        test, test_labels, _ = extract('test')
    # Anew: images that cannot be read are left out.
    train_targets = apis.multi_hot(train_labels, num_classes, 'training')
    test_targets = apis.multi_hot(test_labels, num_classes, 'test')
    print('linear SVMs of the whole training split', flush=True)
    full = evaluate(test_targets, svm_scores(train, train_targets, test, args.cost))
    result = dict(num_samples=len(test), full=full)
    for name, value in zip(extract.classes, full['class_ap']):
        print(f'  AP {name:15} {value:5.1f}')
    rows = {f'all {len(train)} images': [full]}
    if args.low_shot:
        rng = np.random.RandomState(args.seed)
        tasks = [(k, draw) for k in args.shots for draw in range(args.draws)]
        for k, _ in track_iter_progress(tasks):
            chosen = low_shot_rows(train_targets, k, rng)
            scores = svm_scores(train[chosen], train_targets[chosen], test, args.cost)
            rows.setdefault(f'{k} of each class', []).append(evaluate(test_targets, scores))
        result['low_shot'] = {k: rows[f'{k} of each class'] for k in args.shots}
        print()
    print(
        f"\n{len(test)} test images, percent. Class mAP (the field's) and AP per image (AdCo's) "
        'are different metrics.'
        + ' Mean +- sample standard deviation (n - 1) of the draws.' * args.low_shot
        + '\n'
    )
    cells = [
        [
            name,
            *(mean_std([run[metric] for run in runs]) for metric in ('class_map', 'per_image_ap')),
        ]
        for name, runs in rows.items()
    ]
    print(markdown_table(['training images', 'class mAP', 'AP per image'], cells))
    if args.out:
        with apis.clear_run_errors():
            dump_atomically(args.out, result)


if __name__ == '__main__':
    main()
