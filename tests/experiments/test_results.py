import itertools
import json
from types import SimpleNamespace

import mmengine
import numpy as np
import pytest
from helpers import ROOT
from sklearn.metrics import adjusted_rand_score

from cdc_mm.apis import find_paper_figures, results_table
from cdc_mm.evaluation.functional import summarize_runs
from cdc_mm.experiments import seed_agreement, select_run


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


@pytest.fixture
def runs(tmp_path):
    """Three finished runs that differ in some images."""
    rng = np.random.RandomState(0)
    truth = rng.randint(3, size=40)
    made = []
    for seed, wrong in enumerate((0.1, 0.0, 0.7)):
        folder = tmp_path / f'seed{seed}'
        folder.mkdir()
        clusters = np.where(rng.rand(40) < wrong, rng.randint(3, size=40), truth)
        np.savez(folder / 'predictions.npz', image=np.arange(40).astype(str), cluster=clusters)
        (folder / 'metrics.json').write_text(
            json.dumps({'clustering/linear_cv': [90.0, 92.5, 40.0][seed], 'clustering/acc': seed})
        )
        (folder / 'epoch_3.pth').touch()
        (folder / 'last_checkpoint').write_text('epoch_3.pth')
        files = dict(
            predictions_file=folder / 'predictions.npz', metrics_file=folder / 'metrics.json'
        )
        made.append(SimpleNamespace(stage='a', seed=seed, folder=folder, **files))
    return made


def rewrite(run, **changes):
    kept = dict(np.load(run.predictions_file))
    np.savez(run.predictions_file, **(kept | changes))


def test_seeds_agree_by_the_rand_index_of_their_predictions(runs):
    clusters = [np.load(run.predictions_file)['cluster'] for run in runs]
    pairs = itertools.combinations(range(3), 2)
    aris = {pair: adjusted_rand_score(*(clusters[i] for i in pair)) for pair in pairs}
    found = seed_agreement(runs)
    assert found['mean'] == pytest.approx(np.mean(list(aris.values())))
    assert found['with_others'][0] == pytest.approx((aris[0, 1] + aris[0, 2]) / 2)
    assert np.shape(found['cluster_stability']) == (3, 3)
    # Images that one of them could not read do not count.
    rewrite(runs[2], cluster=np.where(np.arange(40) < 5, -1, clusters[2]))
    part = [adjusted_rand_score(clusters[0][5:], other[5:]) for other in clusters[1:]]
    assert seed_agreement(runs)['with_others'][0] == pytest.approx(np.mean(part))

    lines = results_table([stage('a', [90.0, 92.0, 50.0]) | dict(agreement=found)]).splitlines()
    values = ', '.join(f'{i}: {value:.2f}' for i, value in enumerate(found['with_others']))
    line = f'a: agreement of seeds (ARI) {found["mean"]:.2f}; with the others, seed {values}.'
    assert line in lines


def test_no_agreement_of_one_run_of_other_images_or_without_predictions(runs, capsys):
    assert seed_agreement(runs[:1]) is None
    rewrite(runs[1], image=np.arange(1, 41).astype(str))
    assert seed_agreement(runs) is None and 'other images' in capsys.readouterr().out
    runs[1].predictions_file.unlink()
    assert seed_agreement(runs) is None
    assert 'agreement' not in results_table([stage('a', [90.0, 92.0]) | dict(agreement=None)])


def test_the_best_run_is_chosen_without_labels(runs):
    chosen = select_run(runs)
    path = str(runs[1].folder / 'epoch_3.pth')
    assert chosen == dict(seed=1, by='clustering/linear_cv', value=92.5, checkpoint=path)
    runs[0].metrics_file.write_text('{"clustering/acc": 90.0}')
    with pytest.raises(ValueError, match=r'has no clustering/linear_cv.*Delete it'):
        select_run(runs)


def test_shares_have_two_decimals():
    table = results_table([stage('a', [90.0, 92.0], **{'clustering/silhouette': 0.237})])
    assert cells(table.splitlines()[2])[-1] == '0.24 +- 0.00'
