import copy
from itertools import permutations

import numpy as np
import pytest
import torch
from helpers import TINY_CDC, make_runner, run_ranks
from mmpretrain.registry import HOOKS, MODELS
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from cdc_mm.checkpoints import read_state_dict
from cdc_mm.datasets import Digits
from cdc_mm.engine.hooks.training_rows import cluster_training_rows
from cdc_mm.errors import RunError
from cdc_mm.evaluation.functional import align_clusters, unit_rows
from cdc_mm.models.layers import ClusterTargets


def build(**kwargs):
    return HOOKS.build(dict(type='ReclusterHook', **kwargs))


def runner(work_dir, hook=(), **kwargs):
    hooks = [dict(type='ReclusterHook', restarts=2, **dict(hook))]
    return make_runner(work_dir, kwargs.pop('model', TINY_CDC), custom_hooks=hooks, **kwargs)


@pytest.mark.parametrize('num_clusters', [2, 3, 5])
def test_aligned_clusters_agree_as_well_as_any_numbering(num_clusters):
    rng = np.random.RandomState(num_clusters)
    clusters, reference = rng.randint(num_clusters, size=(2, 60))
    reference[:20] = (clusters[:20] + 1) % num_clusters
    best = max(
        (np.array(numbers)[clusters] == reference).sum()
        for numbers in permutations(range(num_clusters))
    )
    aligned = align_clusters(clusters, reference, num_clusters)
    assert (aligned == reference).sum() == best
    assert adjusted_rand_score(aligned, clusters) == 1


def test_targets_are_smoothed_labels():
    targets = ClusterTargets(4)
    assert not targets.state_dict()
    targets.start(6, 'cpu')
    targets.smoothing = 0.2
    targets.labels[torch.tensor([1, 3])] = torch.tensor([2, 0])
    rows = targets(torch.tensor([3, 0, 1]))
    expected = [[0.85, 0.05, 0.05, 0.05], [0, 0, 0, 0], [0.05, 0.05, 0.85, 0.05]]
    torch.testing.assert_close(rows, torch.tensor(expected))


def test_targets_stand_in_for_the_assigners():
    torch.manual_seed(0)
    head = MODELS.build(dict(type='CDCHead', num_clusters=3, instance_dim=4, alpha=1.0, t=0.5))
    query, key = (head.normalize(torch.randn(5, 7)) for _ in range(2))
    targets = torch.zeros(5, 3)
    targets[:4, 1] = 1
    losses = head.loss([(query, key)], key, targets=targets)
    assigned = head.assigner.assign(key[:, :3])
    each = -torch.log_softmax(query[:, :3] / 0.5, dim=1)
    expected = (each[:4, 1].sum() + (each[4] * assigned[4]).sum()) / 5
    torch.testing.assert_close(losses['loss_cluster'], expected)


def test_phases_follow_the_length_of_the_training():
    assert build().phases(160) == [(48, 64), (96, 112)]
    assert build(moments=[0.5], duration=0.01).phases(10) == [(5, 6)]


def test_targets_are_k_means_on_the_features(tmp_path):
    run = runner(tmp_path, dict(moments=[0.5], duration=0.5), epochs=2)
    run.train()
    before, after = (read_state_dict(str(tmp_path / f'epoch_{i}.pth')) for i in (1, 2))
    assert (before['targets.labels'] == -1).all()
    model = copy.deepcopy(run.model)
    model.load_state_dict(before)
    images = np.stack([info['img'][..., 0] for info in Digits(pipeline=[]).load_data_list()])
    with torch.no_grad():
        x = (torch.from_numpy(images)[:, None].float() - 78) / 96
        rows = model.eval().encode(x)
        clusters = model.scores(rows).argmax(1).numpy()
    rows = torch.nn.functional.normalize(rows, dim=1).numpy()
    expected = KMeans(10, n_init=2, random_state=run.seed + 1).fit_predict(rows)
    labels = after['targets.labels'].numpy()
    assert adjusted_rand_score(labels, expected) > 0.999
    # Under the numbers that agree best with what the network says.
    assert (labels == clusters).mean() == pytest.approx(
        (align_clusters(labels, clusters, 10) == clusters).mean()
    )
    log = next(tmp_path.glob('*/*.log')).read_text()
    moved = 100 * (labels != clusters).mean()
    assert f'Clustered anew before epoch 2: {moved:.1f} % of 1437 images moved' in log


def test_a_resumed_training_keeps_its_targets(tmp_path):
    """Also from within the epochs that have them."""
    hook = dict(moments=[0.3], duration=0.7)
    whole = runner(tmp_path / 'whole', hook, epochs=3)
    whole.train()
    part = runner(tmp_path / 'part', hook, epochs=3)

    class StopError(Exception):
        pass

    def stop(*args, **kwargs):
        raise StopError

    part.hooks[-1].after_train_epoch = lambda r: stop() if r.epoch == 1 else None
    with pytest.raises(StopError):
        part.train()
    again = runner(tmp_path / 'part', hook, epochs=3, resume=True)
    again.train()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name


def _rank(rank, world_size, folder):
    run = runner(f'{folder}/{world_size}', dict(moments=[0.0], duration=1.0))
    hook = next(hook for hook in run.hooks if type(hook).__name__ == 'ReclusterHook')
    run._train_loop = run.build_train_loop(run._train_loop)
    hook.before_run(run)
    hook.before_train_epoch(run)
    return run.model.targets.labels


def test_all_ranks_have_the_targets_of_one_process(tmp_path):
    one = run_ranks(1, _rank, str(tmp_path))[0]
    for labels in run_ranks(2, _rank, str(tmp_path)):
        assert torch.equal(labels, one) and (labels >= 0).all()


def test_the_papers_training_knows_nothing_of_it(tmp_path):
    run = make_runner(tmp_path, TINY_CDC)
    run.train()
    assert not [name for name in run.model.state_dict() if 'targets' in name]
    assert run.model.needs == ('view1', 'view2')


def test_wraps_and_testing(tmp_path):
    """A self-labelled model takes targets, too, and a test has none of it."""
    model = dict(
        type='SelfLabel', clusterer=TINY_CDC, loss=dict(type='SelfLabelLoss', threshold=0.15)
    )
    views = ('view1', 'view2', 'weak', 'strong')
    run = runner(tmp_path, dict(moments=[0.0], duration=1.0), model=model, views=views)
    run.train()
    assert (run.model.clusterer.targets.labels >= 0).all()
    test = runner(
        tmp_path,
        load_from=str(tmp_path / 'epoch_1.pth'),
        **{'train_dataloader.dataset': dict(type='ImageFolder', data_root='gone')},
    )
    assert test.test()['clustering/num_samples'] == 360


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(moments=[]), 'moments must be shares'),
        (dict(moments=[0.3, 1.0]), 'moments must be shares'),
        (dict(duration=0), 'duration must be a share'),
        (dict(restarts=0), 'restarts must be at least 1'),
        (dict(smoothing=1.0), 'smoothing must be at least 0'),
    ],
)
def test_refuses_values_out_of_range(kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(**kwargs)


def test_refuses_what_it_cannot_do(tmp_path):
    loop = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=2)
    with pytest.raises(ValueError, match='counts in epochs'):
        runner(tmp_path, train_cfg=loop).train()
    heads = dict(type='MultiHead', num_heads=2, clusterer=dict(TINY_CDC, backbone=None,
                 neck=dict(TINY_CDC['neck'], in_channels=4)))  # fmt: skip
    heads['backbone'] = dict(type='Encoder', backbone=TINY_CDC['backbone'], freeze=True)
    with pytest.raises(ValueError, match='MultiHead takes no clusters as targets'):
        runner(tmp_path, model=heads).train()
    many = copy.deepcopy(TINY_CDC)
    many['head']['num_clusters'] = 1438
    with pytest.raises(ValueError, match='1437 images cannot be clustered into num_clusters=1438'):
        runner(tmp_path, model=many).train()


def test_copies_of_a_few_images_are_refused():
    """Whether they are so in the data or the features have become the same."""
    rows = np.repeat(np.eye(4, dtype=np.float32)[:3], 5, axis=0) * np.arange(1, 16)[:, None]
    with pytest.raises(RunError, match=r'15 images are only 3 different rows.*num_clusters=4'):
        cluster_training_rows(unit_rows(rows), 4, 10, 1)
    found = cluster_training_rows(unit_rows(rows), 3, 10, 1)
    assert sorted(np.bincount(found)) == [5, 5, 5]
