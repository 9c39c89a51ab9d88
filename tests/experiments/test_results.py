import mmengine
from helpers import ROOT

from cdc_mm.apis import find_paper_figures, results_table
from cdc_mm.evaluation.functional import summarize_runs


def stage(name, accs, paper=None, **more):
    metrics = [{'clustering/acc': acc, 'clustering/num_samples': 360, **more} for acc in accs]
    return dict(
        stage=name, seeds=list(range(len(accs))), metrics=summarize_runs(metrics), paper=paper
    )


def test_table_puts_the_papers_figures_below_ours():
    paper = dict(source='Table 1 CDC', runs=5, acc=[83.1, 0.6])
    stages = [stage('a', [90.0, 92.0, 97.0], paper), stage('a+b', [95.04])]
    lines = results_table(stages).splitlines()
    assert lines[0] == '| | seeds | ACC |'
    assert lines[2] == '| a | 3 | 93.0 +- 3.6 |'
    assert lines[3] == "| the paper's: Table 1 CDC | 5 | 83.1 +- 0.6 |"
    assert lines[4] == '| a+b | 1 | 95.0 |'
    assert 'a: ACC by seed 0: 90.0, 1: 92.0, 2: 97.0; 360 test images.' in lines
    assert any('sample standard deviation (n - 1)' in line for line in lines)


def test_table_without_labels_shows_what_needs_none():
    metrics = summarize_runs([{'clustering/num_samples': 8, 'clustering/mean_confidence': 61.26}])
    table = results_table([dict(stage='a', seeds=[0], metrics=metrics, paper=None)])
    assert table.splitlines()[:3] == ['| | seeds | mean_confidence |', '|---|---|---|',
                                      '| a | 1 | 61.3 |']  # fmt: skip


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
