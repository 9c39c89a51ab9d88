"""Figures without labels, through the tools: where they appear and what they are computed from."""

import json

import generated
import numpy as np
import pytest
import torch
from helpers import CONFIG, SMALL, TINY_CDC, log_of, make_runner
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import adjusted_rand_score, balanced_accuracy_score, silhouette_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from cdc_mm.apis import read_state_dict


def held_out_pixels():
    images = load_digits().images[np.random.RandomState(0).permutation(1797)[1437:]]
    return images.reshape(360, 64)


def linear_cv(rows, clusters, seed):
    """Without the package: balanced over the clusters that can be cross-validated."""
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    large = np.bincount(clusters, minlength=10) >= 5
    kept = large[clusters]
    splits = StratifiedKFold(5, shuffle=True, random_state=seed)
    found = cross_val_predict(RidgeClassifier(), rows[kept], clusters[kept], cv=splits)
    return 100 * balanced_accuracy_score(clusters[kept], found) * large.sum() / 10


def read_clusters(path):
    return np.loadtxt(path, delimiter=',', skiprows=1, usecols=1, dtype=int)


def test_the_pixels_of_a_network_that_is_trained(trained, call, tmp_path, capsys):
    work_dir, _ = trained
    args = (CONFIG, work_dir / 'epoch_2.pth', '--work-dir', tmp_path, '--out')
    call('test', *args, tmp_path / 'metrics.json', '--out-item', 'metrics', options=SMALL)
    assert ', linear_cv ' in capsys.readouterr().out
    call('test', *args, tmp_path / 'clusters.csv', options=SMALL)
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    clusters, pixels = read_clusters(tmp_path / 'clusters.csv'), held_out_pixels()
    expected = silhouette_score(pixels, clusters, metric='cosine')
    assert metrics['clustering/silhouette'] == pytest.approx(expected, abs=2e-3)  # 8-bit pixels
    # In another order the folds are others.
    by_fold = [linear_cv(pixels, clusters, seed) for seed in range(10)]
    assert min(by_fold) - 2 < metrics['clustering/linear_cv'] < max(by_fold) + 2
    # Each validation has them, too.
    scalars = next(work_dir.glob('*/vis_data/scalars.json')).read_text().splitlines()
    lines = [line for line in map(json.loads, scalars) if 'clustering/acc' in line]
    assert len(lines) == 2
    assert lines[-1]['clustering/linear_cv'] == pytest.approx(metrics['clustering/linear_cv'])
    assert 'clustering/silhouette: ' in log_of(work_dir)


def test_a_folder_without_labels(call, tmp_path, capsys):
    root = generated.image_folder(tmp_path, images_per_class=20, size=40)
    flat = tmp_path / 'photos'
    flat.mkdir()
    for i, path in enumerate(sorted(root.rglob('*.jpg'))):
        path.rename(flat / f'{i:03}.jpg')
    options = [
        f'data_root={flat}', 'epochs=1', 'batch_size=16', 'num_workers=0', 'image_size=32',
        'num_clusters=3', 'model.backbone.stem_channels=4', 'model.backbone.base_channels=4',
        'model.neck.in_channels=32', 'model.queue_size=8', 'train_cfg.val_interval=1',
        'default_hooks.checkpoint.save_best=clustering/silhouette',
    ]  # fmt: skip
    call('train', 'configs/cdc_r18_folder.py', '--work-dir', tmp_path / 'run', options=options)
    assert 'silhouette' in capsys.readouterr().out
    checkpoint = tmp_path / 'run' / 'best_clustering_silhouette_epoch_1.pth'
    call('test', 'configs/cdc_r18_folder.py', checkpoint, '--work-dir', tmp_path, '--out',
         tmp_path / 'metrics.json', '--out-item', 'metrics', options=options)  # fmt: skip
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    assert 'clustering/acc' not in metrics and metrics['clustering/num_samples'] == 80
    assert 0 <= metrics['clustering/linear_cv'] <= 100
    assert -1 <= metrics['clustering/silhouette'] <= 1


def test_the_best_checkpoint_is_kept_without_labels_also_after_resuming(call, tmp_path):
    options = (
        *SMALL,
        'train_cfg.max_epochs=4',
        'optim_wrapper.optimizer.lr=0.02',
        'default_hooks.checkpoint.save_best=clustering/linear_cv',
        'default_hooks.checkpoint.max_keep_ckpts=-1',
    )
    call('train', CONFIG, '--work-dir', tmp_path, options=options)
    scalars = next(tmp_path.glob('*/vis_data/scalars.json')).read_text().splitlines()
    lines = [line for line in map(json.loads, scalars) if 'clustering/acc' in line]
    values = [line['clustering/linear_cv'] for line in lines]
    best = int(np.argmax(values)) + 1
    (kept,) = tmp_path.glob('best_*.pth')
    assert kept.name == f'best_clustering_linear_cv_epoch_{best}.pth' and len(set(values)) == 4
    same = read_state_dict(str(tmp_path / f'epoch_{best}.pth'))
    state = read_state_dict(str(kept))
    assert all(torch.equal(value, same[name]) for name, value in state.items())
    # What was best is known to a training that goes on.
    call('train', CONFIG, '--work-dir', tmp_path, '--resume',
         options=(*options, 'train_cfg.max_epochs=5', 'optim_wrapper.optimizer.lr=0'))  # fmt: skip
    assert len(list(tmp_path.glob('best_*.pth'))) == 1


def test_the_rows_of_a_frozen_encoder_and_the_agreement_of_heads(tmp_path):
    encoder = dict(type='Encoder', backbone=TINY_CDC['backbone'], freeze=True)
    clusterer = {name: value for name, value in TINY_CDC.items() if name != 'backbone'}
    clusterer['neck'] = dict(clusterer['neck'], in_channels=4)
    model = dict(type='MultiHead', clusterer=clusterer, num_heads=3, backbone=encoder)
    runner = make_runner(tmp_path, model)
    runner.train()
    metrics = runner.test()
    model = runner.model.eval()
    rows, heads, clusters = [], [], []
    for batch in runner.test_dataloader:
        data = model.data_preprocessor(batch, False)
        samples = model.predict(data['inputs'], data['data_samples'])
        with torch.no_grad():
            expected = model.encode(data['inputs'])
            labels = [head.scores(expected).argmax(1) for head in model.heads]
        assert torch.equal(torch.stack([sample.row for sample in samples]), expected)
        rows.append(expected)
        heads.append(torch.stack(labels))
        clusters += [int(sample.pred_label) for sample in samples]
    rows, heads, clusters = torch.cat(rows).numpy(), torch.cat(heads, 1).numpy(), np.array(clusters)
    pairs = [(0, 1), (0, 2), (1, 2)]
    agreement = np.mean([adjusted_rand_score(heads[i], heads[j]) for i, j in pairs])
    assert metrics['clustering/head_agreement'] == pytest.approx(agreement)
    assert len(metrics['clustering/head_stability']) == 10
    silhouette = silhouette_score(rows, clusters, metric='cosine')
    assert metrics['clustering/silhouette'] == pytest.approx(silhouette, abs=1e-4)
