import numpy as np
import pytest

from cdc_mm.detection import summarize

PAPER = dict(
    TABLE='Table 5', COLUMNS=['bbox/AP', 'bbox/AP50'], ROWS={'CDC': [56.8, 82.6], 'X': [1, 2]}
)


def run(seed, ap, ap50):
    return dict(seed=seed, metrics=dict(bbox=dict(AP=ap, AP50=ap50, AP75=0.0)))


def cells(line):
    return [cell.strip() for cell in line.strip('|').split('|')]


def test_one_run_stands_next_to_the_paper():
    lines = summarize('x.pth', [run(3, 50.04, 80.06)], PAPER).splitlines()
    assert cells(lines[0]) == ['pretraining', 'bbox AP', 'bbox AP50', 'runs']
    assert cells(lines[2]) == ['CDC (Table 5 of the paper)', '56.8', '82.6', '']
    assert cells(lines[-1]) == ['x.pth', '50.0', '80.1', '1 (seed 3)']
    assert len({line.count('|') for line in lines}) == 1


def test_several_runs_are_mean_and_std():
    values = [50.0, 52.0, 57.0]
    runs = [run(seed, value, 2 * value) for seed, value in enumerate(values)]
    ap, ap50, seeds = cells(summarize('x', runs, PAPER).splitlines()[-1])[1:]
    mean, std = (float(part) for part in ap.split(' +- '))
    assert mean == pytest.approx(np.mean(values), abs=0.05)
    assert std == pytest.approx(np.std(values, ddof=1), abs=0.05)
    assert ap50 == '106.0 +- 7.2'
    assert seeds == '3 (seed 0, 1, 2)'


def test_without_a_paper_every_task_has_its_columns():
    metrics = {
        task: dict(AP=1.0, AP50=2.0, AP75=3.0, APs=float('nan')) for task in ('bbox', 'segm')
    }
    lines = summarize('x', [dict(seed=0, metrics=metrics)], {}).splitlines()
    assert len(lines) == 3
    assert cells(lines[0])[1:-1] == [
        f'{task} {metric}' for task in ('bbox', 'segm') for metric in ('AP', 'AP50', 'AP75')
    ]
    assert cells(lines[-1])[1:-1] == ['1.0', '2.0', '3.0'] * 2
