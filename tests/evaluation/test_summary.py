import statistics

import pytest

from cdc_mm.evaluation.functional import summarize_runs


def test_mean_and_sample_deviation_of_every_number():
    runs = [dict(acc=90.0, sizes=[1], n=5), dict(acc=92.0, n=5), dict(acc=97.0, n=5, more=1.0)]
    summary = summarize_runs(runs)
    assert set(summary) == {'acc', 'n'}
    assert summary['acc']['mean'] == pytest.approx(93)
    assert summary['acc']['std'] == pytest.approx(statistics.stdev([90, 92, 97]))
    assert summary['acc']['values'] == [90, 92, 97]
    assert summary['n']['std'] == 0


def test_one_run_has_no_deviation():
    assert summarize_runs([dict(acc=90.0)])['acc']['std'] is None
