"""The analysis tools on a checkpoint of the digits."""

import json

import cv2
import numpy as np
import pytest
import torch
from helpers import CONFIG, ROOT, SMALL
from mmengine.config import Config
from mmengine.runner import Runner
from mmpretrain.registry import MODELS
from sklearn.manifold import trustworthiness

from cdc_mm import apis, visualization
from cdc_mm.datasets import Digits
from cdc_mm.evaluation.functional import category_similarity, cluster_accuracy


def last_acc(work_dir):
    return apis.read_validation(str(work_dir), ['acc'])['acc'][1][-1]


@pytest.fixture
def small():
    cfg = Config.fromfile(ROOT / CONFIG)
    cfg.model.backbone.channels = [4, 4, 4, 8]
    cfg.model.neck.in_channels = 8
    cfg.model.queue_size = 100
    return cfg


def rows_of(cfg, checkpoint, cache, output, **kwargs):
    return apis.FeatureExtractor(cfg, str(checkpoint), output, cache_dir=cache)('test', **kwargs)


def test_outputs_are_those_of_validation(trained, small, tmp_path):
    work_dir, _ = trained
    for output in ('zc', 'scores'):
        rows, labels, _ = rows_of(small, work_dir / 'epoch_2.pth', tmp_path, output)
        accuracy = cluster_accuracy(np.array(labels), rows.argmax(1))
        assert 100 * accuracy == pytest.approx(last_acc(work_dir))


def test_views_are_augmented_apart(trained, small, tmp_path):
    work_dir, _ = trained
    plain, *views = (
        rows_of(small, work_dir / 'epoch_2.pth', tmp_path, 'zn', view=view).rows
        for view in (None, 0, 1)
    )
    for a, b in ((plain, views[0]), (plain, views[1]), views):
        dots = (a * b).sum(1)
        shuffled = (a * np.roll(b, 1, axis=0)).sum(1)
        assert dots.max() < 1 - 1e-6 and dots.mean() > shuffled.mean()


@pytest.fixture
def unlabelled(monkeypatch):
    """The digits without labels."""
    plain = Digits.load_data_list
    monkeypatch.setattr(
        Digits, 'load_data_list', lambda self: [dict(img=info['img']) for info in plain(self)]
    )


def test_without_labels_images_are_told_apart_by_cluster(
    trained, call, small, tmp_path, capsys, unlabelled
):
    checkpoint = trained[0] / 'epoch_2.pth'
    rows = rows_of(small, checkpoint, tmp_path, 'zc').rows
    clusters = rows.argmax(1)
    shared = ('--cache-dir', tmp_path)
    call('analysis_tools/similarity', CONFIG, checkpoint, '--out', tmp_path / 'x.json', *shared,
         options=SMALL)  # fmt: skip
    assert 'those of predicted clusters' in capsys.readouterr().out
    expected = category_similarity(np.array(rows), clusters)
    result = json.loads((tmp_path / 'x.json').read_text())
    for name in ('same', 'different'):
        assert result['zc'][name] == pytest.approx(expected[name], abs=1e-5)
    call('analysis_tools/tsne', CONFIG, checkpoint, '--out', tmp_path / 'a', '--parts', 'zc',
         '--max-images', 60, '--perplexity', 10, *shared, options=SMALL)  # fmt: skip
    assert 'the colours are those of predicted clusters' in capsys.readouterr().out
    with np.load(tmp_path / 'a.npz') as content:
        chosen = np.random.RandomState(0).permutation(len(rows))[:60]
        assert np.array_equal(content['labels'], clusters[chosen])
    # The backbone alone predicts nothing.
    with pytest.raises(SystemExit, match=r'have no labels.* nothing to group them by'):
        call('analysis_tools/tsne', CONFIG, checkpoint, '--out', tmp_path / 'b', '--parts',
             'backbone', '--max-images', 60, *shared, options=SMALL)  # fmt: skip


def test_similarity(trained, call, tmp_path, capsys):
    work_dir, _ = trained
    out = tmp_path / 'similarity.json'
    call('analysis_tools/similarity', CONFIG, work_dir / 'epoch_2.pth', '--out', out,
         '--cache-dir', tmp_path, options=SMALL)  # fmt: skip
    result = json.loads(out.read_text())
    assert result['num_images'] == 360
    text = capsys.readouterr().out
    for row in ('augmented', 'same', 'different'):
        parts = [result[part][row] for part in ('zc', 'zn', 'z')]
        assert parts[0][0] + parts[1][0] == pytest.approx(parts[2][0], abs=1e-5)
        assert f'{parts[0][0]:.3f} +- {parts[0][1]:.3f}' in text
    assert result['zc']['same'][2] + result['zc']['different'][2] == 360 * 359 / 2
    assert result['zc']['same'][0] > result['zc']['different'][0]
    for part in ('zc', 'zn', 'z'):
        # Of unit vectors, a squared distance is 2 minus twice the dot product.
        norm = 2 if part == 'z' else 1
        aligned = 2 - 2 * result[part]['augmented'][0] / norm
        assert result[part]['alignment'] == pytest.approx(aligned, abs=1e-5)
        assert -8 < result[part]['uniformity'] < 0


def test_similarity_of_moco(call, tmp_path, capsys):
    """A model without clusters: z alone."""
    config = 'configs/baselines/mocov2/mocov2_digits.py'
    cfg = Config.fromfile(ROOT / config)
    cfg.merge_from_dict({'model.backbone.channels': [4, 4, 4, 8], 'model.neck.in_channels': 8})
    model = MODELS.build({'data_preprocessor': cfg.data_preprocessor, **cfg.model})
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'x.pth')
    options = ['model.backbone.channels=[4,4,4,8]', 'model.neck.in_channels=8']
    call('analysis_tools/similarity', config, tmp_path / 'x.pth', '--out', tmp_path / 'x.json',
         '--cache-dir', tmp_path, options=options)  # fmt: skip
    result = json.loads((tmp_path / 'x.json').read_text())
    header = next(x for x in capsys.readouterr().out.splitlines() if x.startswith('|'))
    assert header.split() == ['|', '|', 'z', '|'] and set(result) == {'num_images', 'z'}

    model = apis.load_model(cfg, str(tmp_path / 'x.pth'))
    loader = Runner.build_dataloader(cfg.test_dataloader)
    rows, labels = [], []
    for batch in loader:
        images = model.data_preprocessor(batch)['inputs']
        with torch.no_grad():
            z = model.neck.mlp(model.backbone(images)[-1].mean((2, 3)))
        rows.append((z / z.norm(dim=1, keepdim=True)).double().numpy())
        labels += [int(sample.gt_label) for sample in batch['data_samples']]
    dots, labels = np.concatenate(rows) @ np.concatenate(rows).T, np.array(labels)
    for name, pairs in (
        ('same', labels[:, None] == labels),
        ('different', labels[:, None] != labels),
    ):
        values = dots[np.triu(pairs, 1)]
        assert result['z'][name] == pytest.approx(
            [values.mean(), values.std(), len(values)], abs=1e-5
        )

    with pytest.raises(ValueError, match='MoCo has no zc; it has backbone, z'):
        next(apis.iterate_outputs(model, loader, 'zc'))
    with pytest.raises(ValueError, match='MoCo has no zn'):
        apis.FeatureExtractor(cfg, str(tmp_path / 'x.pth'), 'zn', cache_dir=tmp_path)
    with pytest.raises(SystemExit, match='MoCo predicts nothing that could be tested'):
        call('test', config, tmp_path / 'x.pth', '--work-dir', tmp_path, options=options)


def test_tsne(trained, call, tmp_path, small):
    work_dir, _ = trained
    call('analysis_tools/tsne', CONFIG, work_dir / 'epoch_2.pth', '--out', tmp_path / 'new' / 'a',
         '--max-images', 60, '--perplexity', 10, '--cache-dir', tmp_path,
         options=SMALL)  # fmt: skip
    with np.load(tmp_path / 'new' / 'a.npz') as content:
        assert content['zc'].shape == content['zn'].shape == (60, 2)
        assert content['labels'].shape == (60,) and np.ptp(content['labels']) == 9
        # Neighbours in the plane are neighbours in zc: the points are those of the images.
        rows = rows_of(small, work_dir / 'epoch_2.pth', tmp_path, 'zc').rows
        chosen = np.random.RandomState(0).permutation(len(rows))[:60]
        assert trustworthiness(rows[chosen], content['zc']) > 0.9
        assert trustworthiness(rows[chosen][::-1], content['zc']) < 0.7
    height, width, _ = cv2.imread(str(tmp_path / 'new' / 'a.png')).shape
    assert width > height > 400


def test_tsne_refuses_mistakes(trained, call, tmp_path):
    work_dir, _ = trained
    with pytest.raises(SystemExit, match='there is no checkpoint none'):
        call('analysis_tools/tsne', CONFIG, 'none.pth', '--out', tmp_path / 'a', options=SMALL)
    with pytest.raises(SystemExit, match='perplexity'):
        call('analysis_tools/tsne', CONFIG, work_dir / 'epoch_2.pth', '--out', tmp_path / 'a',
             '--max-images', 20, '--cache-dir', tmp_path / 'c', options=SMALL)  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ['c']


def test_curve(trained, call, tmp_path, monkeypatch):
    work_dir, _ = trained
    drawn = []
    draw = visualization.draw_curves
    monkeypatch.setattr(
        visualization, 'draw_curves', lambda *args: drawn.append(args[0]) or draw(*args)
    )
    for name in 'ab':
        (tmp_path / name).symlink_to(work_dir)
    for dirs in ([work_dir], [tmp_path / 'a', tmp_path / 'b']):
        out = tmp_path / f'{len(dirs)}.png'
        call('analysis_tools/curve', *dirs, '--out', out, options=None)
        assert cv2.imread(str(out)).shape[1] > 600
    one, several = drawn
    assert list(one) == [work_dir.name] and list(one[work_dir.name]) == ['ACC', 'NMI', 'ARI']
    steps, accs = one[work_dir.name]['ACC']
    assert steps == [1, 2] and accs[-1] == last_acc(work_dir)
    assert list(several) == ['ACC', 'NMI', 'ARI']
    assert several['ACC'] == dict(a=(steps, accs), b=(steps, accs))


def test_curve_refuses_a_folder_without_a_training(call, tmp_path):
    with pytest.raises(SystemExit, match='it has none at all'):
        call('analysis_tools/curve', tmp_path, '--out', tmp_path / 'a.png', options=None)
