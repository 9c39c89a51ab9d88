"""Objectives of the rivals that train a network on images, against independent references."""

import numpy as np
import pytest
import torch
from helpers import ROOT, make_runner, run_ranks
from mmengine.config import Config
from mmpretrain.registry import HOOKS, MODELS
from mmpretrain.structures import DataSample
from scipy.special import logsumexp, softmax
from sklearn.metrics import mutual_info_score

from cdc_mm.engine import build_runner
from cdc_mm.errors import RunError
from cdc_mm.evaluation.functional import agglomerate, nearest_groups
from cdc_mm.models.layers import FeatureClusters, concentration
from cdc_mm.models.losses import (
    association,
    cluster_contrast,
    cluster_triplets,
    instance_contrast,
    mutual_information,
    pairwise_decisions,
    positive_alignment,
    proto_nce,
    prototype_scattering,
)

K, N = 4, 24
CLUSTERERS = ('iic', 'contrastive_clustering', 'propos', 'deepcluster_v2', 'dac', 'adc', 'jule')


def rows(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def units(x):
    x = np.asarray(x)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


# IIC.


def test_mutual_information_equals_scikit_learns():
    scores, others = rows(3, N, K), 3 * rows(3, N, K, seed=1)
    found = mutual_information(scores, others)
    for head in range(3):
        p, q = softmax(scores[head].numpy(), 1), softmax(others[head].numpy(), 1)
        joint = sum(np.outer(a, b) for a, b in zip(p, q)) / N
        counts = np.round(1e9 * (joint + joint.T) / 2).astype(np.int64)  # it takes counts
        expected = mutual_info_score(None, None, contingency=counts)
        assert float(found[head]) == pytest.approx(expected)


def test_mutual_information_of_sure_predictions():
    """Equal and even ones tell ln K, those of one cluster nothing; neither is NaN."""
    sure = (1e4 * torch.eye(K)).repeat(N // K, 1).requires_grad_()
    value = mutual_information(sure, sure)
    assert float(value.detach()) == pytest.approx(np.log(K))
    value.backward()
    assert sure.grad.isfinite().all()
    one = torch.zeros(N, K).index_fill(1, torch.tensor([0]), 1e4)
    assert float(mutual_information(one, one)) == pytest.approx(0, abs=1e-6)


# Contrastive clustering.


def contrast(one, other, temperature):
    """NT-Xent as a loop."""
    z = units(np.concatenate([one, other]))
    losses = []
    for i in range(len(z)):
        others = [z[i] @ z[j] / temperature for j in range(len(z)) if j != i]
        pair = z[i] @ z[(i + len(one)) % len(z)] / temperature
        losses.append(logsumexp(others) - pair)
    return np.mean(losses)


def test_both_contrasts_equal_a_loop():
    one, other = rows(N, 5), rows(N, 5, seed=1)
    assert float(instance_contrast(one, other, 0.5)) == pytest.approx(contrast(one, other, 0.5))
    p, q = softmax(one.numpy(), 1), softmax(other.numpy(), 1)
    expected = contrast(p.T, q.T, 0.8)
    for probabilities in (p, q):
        share = probabilities.sum(0) / probabilities.sum()
        expected += np.log(5) + (share * np.log(share)).sum()
    assert float(cluster_contrast(one, other, 0.8)) == pytest.approx(expected)


# ProPos.


def test_prototypes_are_scattered():
    query, key = rows(N, 6), rows(N, 6, seed=1)
    labels = torch.arange(N) % 3 * 2  # of clusters 0, 2 and 4
    q, k = units(query), units(key)
    mu, target = (units([[*x[labels == c]] for c in (0, 2, 4)]).mean(1) for x in (q, k))
    mu, target = units(mu), units(target)
    losses = []
    for i in range(3):
        pull = mu[i] @ target[i] / 0.5
        push = [mu[i] @ mu[j] / 0.5 for j in range(3) if j != i]
        losses.append(logsumexp([pull, *push]) - pull)
    value = prototype_scattering(query, key, labels, 0.5)
    assert float(value) == pytest.approx(np.mean(losses))
    distance = ((q - k) ** 2).sum(1).mean()
    assert float(positive_alignment(query, key)) == pytest.approx(distance)


# PCL.


def test_concentration_and_contrast_equal_the_equations():
    v = torch.from_numpy(units(rows(200, 5)))
    labels = torch.cat([torch.arange(20), torch.randint(19, (180,))])  # the last has one row
    centers = torch.from_numpy(units(rows(20, 5, seed=1)))
    phi = np.zeros(20)
    for c in range(20):
        distances = [np.linalg.norm(x - centers[c]) for x in v[labels == c]]
        phi[c] = np.sum(distances) / (len(distances) * np.log(len(distances) + 10))
    phi[19] = phi[:19].max()
    phi = np.clip(phi, np.percentile(phi, 10), np.percentile(phi, 90))
    phi /= phi.mean()
    found = concentration(v, labels, centers)
    np.testing.assert_allclose(found, phi)
    logits = v.numpy() @ centers.numpy().T / (0.2 * phi)
    expected = np.mean([logsumexp(row) - row[label] for row, label in zip(logits, labels)])
    assert float(proto_nce(v, centers, labels, 0.2 * found)) == pytest.approx(expected)


# DAC.


def test_pairs_are_decided_as_in_a_loop():
    scores = 2 * rows(N, K)
    z = units(np.exp(scores.numpy()))
    losses, pairs = [], 0
    for i in range(N):
        for j in range(i):
            similarity = z[i] @ z[j]
            pairs += 1
            if similarity >= 0.8:
                losses.append(-np.log(similarity))
            elif similarity < 0.5:
                losses.append(-np.log(1 - similarity))
    loss, decided = pairwise_decisions(scores, torch.tensor(0.8), torch.tensor(0.5))
    assert float(loss) == pytest.approx(np.mean(losses), rel=1e-4)  # sure pairs are clamped
    assert 0.1 < float(decided) < 0.9 and float(decided) == pytest.approx(len(losses) / pairs)


def test_thresholds_move_until_they_meet():
    model = build('dac', threshold_lr=0.1)
    model.label_feature[0].weight.data *= 30  # without batch norm all are much alike
    decided = []
    for epoch in range(6):
        assert float(model.moved) == pytest.approx(min(0.11 * epoch, 0.45))
        decided += [float(model.loss(batch(step, slice(i, i + N // 2)))['decided_share'])
                    for step, i in ((0, 0), (0, N // 2))]  # fmt: skip
    assert decided[0] < 1 and decided[-1] == 1


def test_scores_are_standardised_and_cut_off_below_0():
    model = MODELS.build(dict(type='DAC', num_clusters=K, in_channels=6)).double()
    x = rows(N, 6)
    linear = model.label_feature[0](x).detach().numpy()
    expected = (linear - linear.mean(0)) / np.sqrt(linear.var(0) + 1e-5)
    np.testing.assert_allclose(
        model.scores(x).detach().numpy(), expected.clip(min=0), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize('name', ['dac_digits', 'dac_r18_cifar10'])
def test_pairs_are_decided_of_images_as_they_are(name):
    cfg = Config.fromfile(ROOT / f'configs/baselines/dac/{name}.py')
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    channels = len(cfg.data_preprocessor.mean)
    images = torch.randint(256, (4, channels, 32, 32), dtype=torch.uint8)
    batch = model.data_preprocessor(dict(inputs=images), training=True)
    assert set(batch['inputs']) == {'view1'}
    mean, std = (
        torch.tensor(cfg.data_preprocessor[key]).view(1, -1, 1, 1) for key in ('mean', 'std')
    )
    torch.testing.assert_close(batch['inputs']['view1'], (images - mean) / std)


# ADC.


def test_walks_equal_those_of_the_definition():
    centroids, z = rows(K, 5), rows(N, 5, seed=1)
    match = centroids.numpy() @ z.numpy().T
    there, back = softmax(match, 1), softmax(match.T, 1)
    returned = np.diag(there @ back)
    visited = there.mean(0)
    walker, visit = association(centroids, z)
    assert float(walker) == pytest.approx(-np.log(returned).mean())
    assert float(visit) == pytest.approx((np.log(1 / N / visited) / N).sum())


# JULE.


def test_triplets_equal_a_loop():
    z = units(rows(N, 5))
    labels = np.arange(N) % 3
    labels[-1] = 7  # alone: an anchor without a positive
    slack = []
    for i in range(N):
        squared = ((z - z[i]) ** 2).sum(1)
        far = squared[labels != labels[i]]
        near = [squared[j] for j in range(N) if labels[j] == labels[i] and j != i]
        slack += [max(0, 1.5 * d - f + 0.2) for d in near for f in far]
    assert 0 < np.count_nonzero(slack) < len(slack)
    found = cluster_triplets(torch.from_numpy(z), torch.from_numpy(labels), 0.2, 1.5)
    assert float(found) == pytest.approx(np.mean(slack))


def test_clusters_are_merged_as_by_the_definition():
    points = rows(40, 3).numpy()
    squared = ((points[:, None] - points) ** 2).sum(2)
    order = np.argsort(squared + np.diag(np.full(40, np.inf)), axis=1)[:, :5]
    links = np.zeros((40, 40))
    scale = np.take_along_axis(squared, order, 1).mean()
    np.put_along_axis(links, order, np.exp(-np.take_along_axis(squared, order, 1) / scale), 1)
    groups = nearest_groups(points)
    linked = {frozenset((i, int(j))) for i, j in enumerate(order[:, 0])}
    assert all(len(set(groups[list(pair)])) == 1 for pair in linked)
    assert len(np.unique(groups)) <= 20

    def affinity(a, b):
        there, back = links[np.ix_(a, b)], links[np.ix_(b, a)]
        return (there @ back).sum() / len(a) ** 2 + (back @ there).sum() / len(b) ** 2

    parts = [list(np.flatnonzero(groups == c)) for c in range(groups.max() + 1)]
    while len(parts) > 4:
        pairs = [(i, j) for j in range(len(parts)) for i in range(j)]
        i, j = max(pairs, key=lambda pair: affinity(parts[pair[0]], parts[pair[1]]))
        parts[i] += parts.pop(j)
    found = agglomerate(points, groups, 4, neighbors=5)
    assert {frozenset(map(int, part)) for part in parts} == {
        frozenset(map(int, np.flatnonzero(found == c))) for c in range(4)
    }
    assert np.array_equal(agglomerate(points, found, 6), found)  # fewer already


def test_merging_goes_on_and_begins_anew():
    hook = HOOKS.build(dict(type='AgglomerateHook', rate=0.5))
    clusters = hook._clusters = FeatureClusters([K], 5)
    points = units(rows(120, 5)).astype(np.float32)
    clusters.start(121)  # one image could not be read
    counts = []
    for _ in range(6):
        hook._enter(np.arange(120), points, 0)
        counts.append(len(clusters.labels[0, :120].unique()))
        assert clusters.labels[0, 120] == -1 and (clusters.centers.norm(dim=1) > 0.99).all()
    assert counts[0] > 20 and counts[1] == round(counts[0] / 2) and counts[-1] == K
    same = np.eye(3, 5, dtype=np.float32).repeat(40, axis=0)
    with pytest.raises(RunError, match='only 3 different rows'):
        hook._enter(np.arange(120), same, 0)


# The models.


def build(method, **changes):
    """The model of a config of the digits, in float64; batch norm has no part in it."""
    torch.manual_seed(0)
    cfg = Config.fromfile(ROOT / f'configs/baselines/{method}/{method}_digits.py')
    changes = {'num_clusters': K, 'backbone.channels': (8, 8, 8, 8), **changes}
    cfg.merge_from_dict({f'model.{key}': value for key, value in changes.items()})
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    model.init_weights()
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
            module.train = lambda mode=True: None
    model.double().prepare(N)
    clusters = getattr(model, 'feature_clusters', None)
    if clusters is not None:
        some = torch.nn.functional.normalize(rows(N, clusters.dim), dim=1)
        clusters.enter(torch.arange(N), some, [torch.arange(N) % K])
        clusters.active = True
    return model


def batch(step=0, part=slice(None)):
    views = {f'view{i}': rows(N, 1, 8, 8, seed=9 * step + i)[part] for i in (1, 2)}
    return dict(views, sample_idx=torch.randperm(N, generator=torch.manual_seed(step))[part])


def test_propos_aligns_both_ways_and_its_target_predicts():
    model, x = build('propos', latent_std=0.0, momentum=1.0), batch()
    losses = model.loss(x)
    images = [x['view1'], x['view2']]
    q = [model.neck((model.encoder.backbone(view)[0],))[0] for view in images]
    k = [model.target.neck((model.target.encoder.backbone(view)[0],))[0] for view in images]
    p = [model.predictor((own[..., None, None],))[0] for own in q]
    cosine = [torch.cosine_similarity(p[i], k[1 - i]).mean() for i in (0, 1)]
    torch.testing.assert_close(losses['loss_alignment'], 2 - sum(cosine))
    labels = (torch.arange(N) % K)[x['sample_idx']]
    both = [prototype_scattering(q[i], k[1 - i], labels, 0.5) for i in (0, 1)]
    torch.testing.assert_close(losses['loss_scattering'], 0.05 * sum(both))
    model.target.neck.fc1.weight.data *= -1  # only the target's
    before = model.predict(x['view1'])
    model.neck.fc1.weight.data *= -1
    assert before[3].pred_score.equal(model.predict(x['view1'])[3].pred_score)
    model.feature_clusters.active = False
    assert set(model.loss(x)) == {'loss_alignment'}


def test_deepcluster_classifies_and_remembers():
    model, x = build('deepcluster_v2'), batch()
    centers = model.feature_clusters.centers.clone()
    loss = model.loss(x)['loss_cluster']
    z = [units(model.neck((model.backbone(x[f'view{i}'])[0],))[0].detach()) for i in (1, 2)]
    labels = np.arange(N)[x['sample_idx']] % K
    logits = np.concatenate([own @ centers.numpy().T / 0.1 for own in z])
    expected = np.mean([logsumexp(r) - r[c] for r, c in zip(logits, [*labels, *labels])])
    assert float(loss.detach()) == pytest.approx(expected)
    np.testing.assert_allclose(model.feature_clusters.memory[x['sample_idx']], z[0])


def train(rank, world_size, method):
    """Some steps on this rank's part of each batch."""
    model = build(method, **(dict(latent_std=0.0) if method == 'propos' else {}))
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    seen = {}
    for step in range(2):
        part = slice(rank * N // world_size, (rank + 1) * N // world_size)
        losses = model.loss(batch(step, part))
        optimizer.zero_grad()
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        for parameter in model.parameters():
            if world_size > 1 and parameter.grad is not None:
                torch.distributed.all_reduce(parameter.grad)
                parameter.grad /= world_size
        optimizer.step()
    seen.update(model.state_dict(), sizes=model.cluster_sizes)
    return {name: value.clone() for name, value in seen.items()}


def train_all(rank, world_size):
    return {method: train(rank, world_size, method) for method in CLUSTERERS}


def test_ranks_equal_one_process():
    one = train_all(0, 1)
    for found in run_ranks(2, train_all):
        for method, state in one.items():
            for name, value in state.items():
                torch.testing.assert_close(
                    found[method][name], value, rtol=0, atol=1e-9,
                    msg=lambda text, where=f'{method} {name}: ': where + text,
                )  # fmt: skip


# Their clusters.


def test_clusters_of_the_features_follow_each_epoch(tmp_path):
    cfg = Config.fromfile(ROOT / 'configs/baselines/propos/propos_digits.py').model
    cfg.backbone.channels = (2, 2, 2, 4)
    hooks = [dict(type='FeatureClustersHook', warmup=0.5)]
    runner = make_runner(tmp_path, cfg, epochs=2, custom_hooks=hooks)
    runner.train()
    model, clusters = runner.model, runner.model.feature_clusters
    labels = clusters.labels[0]
    assert clusters.active and labels.shape == (1437,) and labels.unique().tolist() == [*range(10)]
    model.eval()
    with torch.no_grad():
        data = [model.data_preprocessor(b, False)['inputs'] for b in runner.val_dataloader]
        z = model.embed(model.encode(torch.cat(data)))['z']
        own = model.predict(torch.cat(data))
    # Rows of unit norm are closest to the centre that they are most similar to.
    nearest = torch.cdist(z, clusters.centers).argmin(dim=1)
    assert [int(sample.pred_label) for sample in own] == nearest.tolist()
    epochs, _ = runner.message_hub.log_scalars['train/loss_scattering'].data
    assert len(epochs) == len(runner.train_dataloader)  # of the second epoch alone
    saved = torch.load(tmp_path / 'epoch_2.pth', weights_only=True)['state_dict']
    assert saved['feature_clusters.labels'].equal(clusters.labels)


def test_pcl_clusters_what_its_momentum_encoder_gives(tmp_path):
    cfg = Config.fromfile(ROOT / 'configs/baselines/pcl_v2/pcl_v2_digits.py')
    cfg.merge_from_dict(
        {
            'model.backbone.channels': (2, 2, 2, 4),
            'model.neck.in_channels': 4,
            'model.num_prototypes': (3, 5),
            'train_cfg.max_epochs': 1,
            'work_dir': str(tmp_path),
            'experiment_name': 'pcl',
        }
    )
    runner = build_runner(cfg)
    runner.train()
    model = runner.model
    assert model.feature_clusters.centers.shape == (8, 64)
    x = [rows(6, 1, 8, 8, seed=i).float() for i in (0, 1)]
    samples = [DataSample(metainfo=dict(sample_idx=i)) for i in range(6)]
    model.eval()
    q = torch.nn.functional.normalize(model.neck(model.backbone(x[0]))[0], dim=1)
    expected = sum(
        proto_nce(q, centers, labels[:6], 0.2 * phi)
        for labels, centers, phi in model.feature_clusters.split()
    )
    losses = model.loss([x[0][:4], x[1][:4]], samples[:4])
    assert set(losses) == {'loss', 'loss_prototypes'}
    model.queue_len = model.queue.shape[1] // 6 * 6
    torch.testing.assert_close(model.loss(x, samples)['loss_prototypes'], expected / 2)


def test_clusters_and_memory_are_state():
    clusters = FeatureClusters([3, 2], 4, remember=True)
    clusters.start(10)
    some = torch.from_numpy(units(rows(8, 4))).float()
    clusters.enter(torch.arange(8), some, [torch.arange(8) % 3, torch.arange(8) % 2])
    clusters.keep(torch.tensor([9]), some[:1])
    again = FeatureClusters([3, 2], 4, remember=True)
    again.load_state_dict(clusters.state_dict())
    for name, value in clusters.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    assert clusters.labels[:, 8:].unique().tolist() == [-1]
    assert clusters.memory[8].abs().sum() == 0 and clusters.memory[9].equal(some[0])


def test_the_upper_bound_sees_one_augmented_view_and_the_labels():
    cfg = Config.fromfile(ROOT / 'configs/baselines/supervised/supervised_digits.py')
    cdc = Config.fromfile(ROOT / 'configs/cdc_digits.py')
    assert cfg.data_preprocessor.views.view1 == cdc.data_preprocessor.views.view1
    for key in ('train_dataloader', 'optim_wrapper', 'param_scheduler', 'train_cfg'):
        assert cfg[key] == cdc[key]
    assert cfg.model.backbone == cdc.model.backbone
    make = MODELS.build(cfg.data_preprocessor)
    images = torch.randint(256, (5, 1, 8, 8), dtype=torch.uint8)
    batch = dict(inputs=images, data_samples=[DataSample().set_gt_label(i) for i in range(5)])
    plain, augmented = make(dict(batch), False), make(dict(batch), True)
    torch.testing.assert_close(plain['inputs'], (images.float() - 78) / 96)
    assert augmented['inputs'].shape == images.shape
    assert not torch.allclose(augmented['inputs'], plain['inputs'])
    assert [int(sample.gt_label) for sample in augmented['data_samples']] == [*range(5)]
    with pytest.raises(ValueError, match='a classifier takes one view, got view1, view2'):
        MODELS.build(dict(cfg.data_preprocessor, views=cdc.data_preprocessor.views))


def test_mistakes_are_told(tmp_path):
    with pytest.raises(ValueError, match=r'at least 2 clusters, got \[5, 1\]'):
        FeatureClusters([5, 1], 3)
    with pytest.raises(ValueError, match='num_overclusters must be above num_clusters=4, got 4'):
        build('iic', num_overclusters=4)
    for method in ('propos', 'deepcluster_v2', 'jule'):
        with pytest.raises(ValueError, match='trains its encoder, and this one is frozen'):
            build(method, **{'backbone.frozen_stages': 4})
    cfg = Config.fromfile(ROOT / 'configs/baselines/iic/iic_digits.py').model
    runner = make_runner(tmp_path, cfg, custom_hooks=[dict(type='FeatureClustersHook')])
    with pytest.raises(ValueError, match='IIC learns from no clusters of its features'):
        runner.train()
