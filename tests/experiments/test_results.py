import mmengine
from helpers import ROOT

from cdc_mm.apis import find_paper_figures, results_table
from cdc_mm.evaluation.functional import summarize_runs


def cells(line):
    return [cell.strip() for cell in line.strip('|').split('|')]


def stage(name, accs, paper=None, **more):
    metrics = [{'clustering/acc': acc, 'clustering/num_samples': 360, **more} for acc in accs]
    return dict(
        stage=name, seeds=list(range(len(accs))), metrics=summarize_runs(metrics), paper=paper
    )


def test_table_puts_the_papers_figures_below_ours():
    paper = dict(source='Table 1 CDC', runs=5, acc=[83.1, 0.6])
    stages = [stage('a', [90.0, 92.0, 97.0], paper), stage('a+b', [95.04])]
    lines = results_table(stages).splitlines()
    rows = [cells(line) for line in lines]
    assert rows[0] == ['', 'seeds', 'ACC']
    assert rows[2] == ['a', '3', '93.0 +- 3.6']
    assert rows[3] == ["the paper's: Table 1 CDC", '5', '83.1 +- 0.6']
    assert rows[4] == ['a+b', '1', '95.0']
    assert 'a: ACC by seed 0: 90.0, 1: 92.0, 2: 97.0; 360 test images.' in lines
    assert any('sample standard deviation (n - 1)' in line for line in lines)


def test_table_without_labels_shows_what_needs_none():
    metrics = summarize_runs([{'clustering/num_samples': 8, 'clustering/mean_confidence': 61.26}])
    table = results_table([dict(stage='a', seeds=[0], metrics=metrics, paper=None)])
    header, _, row = map(cells, table.splitlines()[:3])
    assert header == ['', 'seeds', 'mean_confidence']
    assert row == ['a', '1', '61.3']


def test_stages_with_other_metrics_share_a_table():
    """Pretraining, then a linear classifier."""
    linear = dict(
        stage='a+linear',
        seeds=[0, 1],
        metrics=summarize_runs([{'accuracy/top1': 97.0}, {'accuracy/top1': 98.0}]),
        paper=None,
    )
    table = results_table([stage('a', [90.0, 92.0]), linear])
    rows = [cells(line) for line in table.splitlines()]
    assert rows[0] == ['', 'seeds', 'ACC', 'top1']
    assert rows[2] == ['a', '2', '91.0 +- 1.4', '']
    assert rows[3] == ['a+linear', '2', '', '97.5 +- 0.7']
    assert 'a: ACC by seed 0: 90.0, 1: 92.0; 360 test images.' in table
    assert 'a+linear: top1 by seed 0: 97.0, 1: 98.0.' in table


def test_paper_figures_of_the_shipped_configs():
    """Table 1 of the paper."""
    cifar10 = find_paper_figures(str(ROOT / 'configs/cdc_r18_cifar10.py'))
    assert (cifar10['acc'], cifar10['nmi'], cifar10['ari']) == (
        [83.1, 0.6],
        [73.4, 0.7],
        [68.7, 0.6],
    )
    selflabel = find_paper_figures(str(ROOT / 'configs/selflabel/selflabel_r18_cifar10.py'))
    assert selflabel['acc'] == [89.0, 0.3]
    assert find_paper_figures(str(ROOT / 'configs/cdc_digits.py')) is None


def test_every_paper_entry_has_its_config(tmp_path):
    for name in mmengine.load(ROOT / 'configs/paper.yml'):
        assert (ROOT / 'configs' / name).is_file(), name
    (tmp_path / 'mine.py').write_text('')
    assert find_paper_figures(str(tmp_path / 'mine.py')) is None
