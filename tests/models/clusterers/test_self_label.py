import copy

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

K, C, T = 4, 6, 0.1
CLUSTERER = dict(
    type='CDC',
    backbone=dict(type='SmallConvNet', channels=(8, 16), strides=(2, 2)),
    neck=dict(type='MoCoV2Neck', hid_channels=16),
    head=dict(type='CDCHead', num_clusters=K, instance_dim=C, t=T),
    queue_size=32,
    momentum=0.5,
)


def build(finetune=False, weight=0.5, seed=0, clusterer=CLUSTERER, **kwargs):
    torch.manual_seed(seed)
    cfg = dict(
        type='SelfLabel',
        clusterer=copy.deepcopy(clusterer),
        loss=dict(type='SelfLabelLoss', threshold=0.3),
        data_preprocessor=dict(type='SelfSupDataPreprocessor'),
    )
    model = MODELS.build(cfg | kwargs)
    model.init_weights()
    model.finetune, model.weight = finetune, weight
    return model


def views(count):
    return [torch.randn(8, 3, 16, 16) for _ in range(count)]


def samples(first=0, step=1):
    return [DataSample(metainfo=dict(sample_idx=first + step * i)) for i in range(8)]


def zc(model, x):
    cdc = model.clusterer
    return F.normalize(cdc.neck(cdc.backbone(x))[0][:, :K], dim=1)


def test_the_term_is_added_with_its_weight():
    model = build()
    reference = copy.deepcopy(model)
    x = views(4)
    losses = model(x, samples(), mode='loss')
    contrastive = reference.clusterer(x[:2], mode='loss')
    assert all(torch.equal(losses[name], value) for name, value in contrastive.items())
    weak, strong = (zc(reference, view) / T for view in x[2:])
    expected = reference.loss_module(strong, weak)
    torch.testing.assert_close(losses['loss_selflabel'], 0.5 * expected['loss'])
    assert losses['confident_share'] == expected['confident_share'] > 0


def test_alone_it_takes_two_views_and_leaves_the_queue():
    model = build(finetune=True)
    queue = model.clusterer.queue.rows.clone()
    losses = model(views(2), samples(), mode='loss')
    assert set(losses) == {'loss_selflabel', 'confident_share'}
    assert torch.equal(model.clusterer.queue.rows, queue)
    losses['loss_selflabel'].backward()
    assert all(p.grad is not None for p in model.clusterer.neck.parameters())
    with pytest.raises(ValueError, match='needs the views weak, strong'):
        model(views(4), samples(), mode='loss')


def test_alone_it_is_watched():
    """The clusterer's own loss, which counts its predictions otherwise, does not run."""
    model = build(finetune=True)
    x = views(2)
    expected = torch.bincount(zc(model, x[0]).argmax(1), minlength=K)
    model(x, samples(), mode='loss')
    assert torch.equal(model.diagnostics()['cluster_sizes'].long(), expected)
    both = build()
    both(views(4), samples(), mode='loss')
    assert both.diagnostics()['cluster_sizes'].sum() == 8


def test_before_its_time_only_the_clusterers_losses_run():
    model = build(weight=0.0)
    assert 'loss_selflabel' not in model(views(4), samples(), mode='loss')


def test_pseudo_labels_are_recorded_by_index():
    model = build(finetune=True)
    model.prepare(20)
    x = views(2)
    reference = copy.deepcopy(model)
    model(x, samples(3, 2), mode='loss')
    score = torch.softmax(zc(reference, x[0]) / T, 1)
    expected = torch.full((20,), -1)
    expected[3:19:2] = torch.where(score.max(1)[0] > 0.3, score.argmax(1), -1)
    assert torch.equal(model.pseudo_labels.current, expected)


def test_predicts_as_the_clusterer():
    model = build().eval()
    x = views(1)[0]
    for own, other in zip(
        model(x, mode='predict'), model.clusterer(x, mode='predict'), strict=True
    ):
        assert torch.equal(own.pred_score, other.pred_score)
    rows = model.encode(x)
    assert torch.equal(model.embed(rows)['zn'], model.clusterer.embed(rows)['zn'])


def test_checkpoints_go_both_ways():
    wrapper, cdc = build(seed=1), build(seed=2).clusterer
    wrapper.prepare(100)
    cdc.load_state_dict(wrapper.state_dict(), strict=False)
    assert torch.equal(cdc.neck.mlp[0].weight, wrapper.clusterer.neck.mlp[0].weight)
    assert torch.equal(cdc.queue.rows, wrapper.clusterer.queue.rows)
    other = build(seed=3)
    result = other.load_state_dict(cdc.state_dict())
    assert not result.missing_keys and not result.unexpected_keys
    for name, value in cdc.state_dict().items():
        assert torch.equal(value, other.clusterer.state_dict()[name]), name


def test_the_heads_own_loss_is_the_default():
    clusterer = copy.deepcopy(CLUSTERER)
    clusterer['head']['self_label'] = dict(type='SelfLabelLoss', threshold=0.7)
    assert build(clusterer=clusterer, loss=None).loss_module.threshold == 0.7
    assert build(loss=None).loss_module.threshold == 0.99
    assert not [n for n in build(clusterer=clusterer, loss=None).state_dict() if 'loss_module' in n]


def test_refuses_a_threshold_that_the_clusterer_cannot_reach():
    clusterer = copy.deepcopy(CLUSTERER)
    clusterer['head'].update(num_clusters=200, t=0.2)
    with pytest.raises(ValueError, match=r'no probability exceeds 0\.4'):
        build(clusterer=clusterer, loss=dict(type='SelfLabelLoss', threshold=0.5))
    clusterer['head'].update(normalize_zc=False)  # then no bound holds
    assert build(clusterer=clusterer).max_confidence == 1
