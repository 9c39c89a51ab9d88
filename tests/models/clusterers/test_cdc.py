import copy

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch.utils._python_dispatch import TorchDispatchMode

from cdc_mm.checkpoints import check_weights
from cdc_mm.models.assigners import sinkhorn_knopp
from cdc_mm.models.losses import cluster_cross_entropy, info_nce

K, C = 4, 6


def config(**kwargs):
    cfg = dict(
        type='CDC',
        backbone=dict(type='SmallConvNet', channels=(8, 16), strides=(2, 2)),
        neck=dict(type='MoCoV2Neck', in_channels=16, hid_channels=16),
        head=dict(type='CDCHead', num_clusters=K, instance_dim=C),
        queue_size=32,
        momentum=0.9,
        data_preprocessor=dict(type='SelfSupDataPreprocessor'),
    )
    return cfg | kwargs


def build(seed=0, **kwargs):
    torch.manual_seed(seed)
    model = MODELS.build(config(**kwargs))
    model.init_weights()
    return model


def views(batch_size=8, dtype=torch.float32):
    return [torch.randn(batch_size, 3, 16, 16, dtype=dtype) for _ in range(2)]


def test_loss_is_the_algorithm_written_out():
    """Algorithm 1 with MoCo's order: update the momentum encoder, encode, compare, enqueue."""
    model = build()
    x = views()
    reference = copy.deepcopy(model)
    losses = model(x, mode='loss')

    query = list(reference.backbone.parameters()) + list(reference.neck.parameters())
    for k, q in zip(reference.momentum_encoder.parameters(), query, strict=True):
        k.data = 0.9 * k.data + 0.1 * q.data
    z_q = reference.neck(reference.backbone(x[0]))[0]
    momentum = reference.momentum_encoder
    z_k = momentum.neck(momentum.encoder.backbone(x[1]))[0]
    q, k = (
        torch.cat([F.normalize(z[:, :K], dim=1), F.normalize(z[:, K:], dim=1)], 1)
        for z in (z_q, z_k)
    )
    torch.testing.assert_close(losses['loss_infonce'], info_nce(q, k, reference.queue.rows, 0.15))
    cluster = cluster_cross_entropy(q[:, :K], sinkhorn_knopp(k[:, :K]), 0.1)
    torch.testing.assert_close(losses['loss_cluster'], 5 * cluster)
    torch.testing.assert_close(model.queue.rows[:8], k)


def test_symmetric_loss_is_the_mean_of_both_directions():
    x = views()
    model = build(symmetric=True, momentum=1.0)
    forward, backward, both = (copy.deepcopy(model) for _ in range(3))
    forward.symmetric = backward.symmetric = False
    one, two = forward(x, mode='loss'), backward(x[::-1], mode='loss')
    mean = both(x, mode='loss')
    for name in ('loss_infonce', 'loss_cluster'):
        torch.testing.assert_close(mean[name], (one[name] + two[name]) / 2)


def test_gradient_reaches_the_query_encoder_only():
    model = build()
    losses = model(views(), mode='loss')
    (losses['loss_infonce'] + losses['loss_cluster']).backward()
    for name, parameter in model.named_parameters():
        moved = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        assert moved == (not name.startswith('momentum_encoder')), name


def test_momentum_update():
    model = build()
    with torch.no_grad():
        for parameter in (*model.backbone.parameters(), *model.neck.parameters()):
            parameter.add_(1.0)
    before = [p.clone() for p in model.momentum_encoder.parameters()]
    model.momentum_encoder.update(model, 0.9)
    for old, new in zip(before, model.momentum_encoder.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.1)


@pytest.mark.parametrize(('images', 'size'), [(600, 300), (10**6, 65536), (6, K)])
def test_a_queue_without_a_size_is_what_the_data_allow(images, size):
    model = build(queue_size=None)
    with pytest.raises(ValueError, match='queue_size is not set'):
        model(views(), mode='loss')
    model.prepare(images)
    rows = model.queue.rows
    assert rows.shape == (size, K + C)
    torch.testing.assert_close(rows[:, :K].norm(dim=1), torch.ones(size))
    other = build(seed=1, queue_size=None)
    other.prepare(images)
    assert torch.equal(other.queue.rows, rows)  # as on another rank


def test_a_queue_longer_than_the_data_is_cut(monkeypatch):
    """Or images would meet their own past keys as negatives."""
    said = []
    monkeypatch.setattr('mmengine.logging.MMLogger.warning', lambda self, text: said.append(text))
    fits = build(queue_size=32)
    before = fits.queue.rows.clone()
    fits.prepare(32)
    assert not said and torch.equal(fits.queue.rows, before)
    model = build(queue_size=32)
    model.prepare(20)
    assert len(model.queue) == 10
    assert 'queue of 32 keys is longer than the 20 training images' in said[0]
    rows = model.queue.rows
    model.prepare(20)  # once for the checks, once when training begins
    assert len(said) == 1 and model.queue.rows is rows


class _NoHostSync(TorchDispatchMode):
    """Fails on the operators that make the host wait for an accelerator."""

    banned = ('_local_scalar_dense', 'nonzero', 'masked_select', 'equal', 'is_nonzero', 'unique')

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.__name__.split('.')[0]
        assert name not in self.banned, f'{name} waits for the device'
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('num_clusters', [K, 20])
def test_a_step_never_waits_for_the_device(num_clusters):
    head = dict(type='CDCHead', num_clusters=num_clusters, instance_dim=C)
    model = build(head=head, symmetric=True)
    with _NoHostSync():
        losses = model(views(), mode='loss')
        (losses['loss_infonce'] + losses['loss_cluster']).backward()
    with pytest.raises(AssertionError, match='waits'), _NoHostSync():
        losses['loss_infonce'].item()


def test_key_encoder_shuffles_only_where_it_matters(monkeypatch):
    calls = []
    monkeypatch.setattr(
        'cdc_mm.models.clusterers.cdc.shuffled_forward',
        lambda module, x: calls.append(1) or module(x),
    )
    build()(views(), mode='loss')
    assert not calls
    split = dict(type='SmallConvNet', norm_cfg=dict(type='SplitBN', num_splits=2))
    neck = dict(type='MoCoV2Neck', in_channels=128, hid_channels=16)
    build(backbone=split, neck=neck)(views(), mode='loss')
    assert calls


@pytest.mark.parametrize('batch_size', [1, 3])
def test_small_batches_work(batch_size):
    losses = build()(views(batch_size), mode='loss')
    assert all(value.isfinite() for value in losses.values())


def test_batch_smaller_than_k_is_topped_up_with_the_newest_keys():
    head = dict(type='CDCHead', num_clusters=12, instance_dim=C)
    model = build(head=head)
    seen = []
    assign = model.head.assigner.assign
    model.head.assigner.assign = lambda zc, past: seen.append(past) or assign(zc, past)
    model(views(), mode='loss')
    keys = model.queue.rows[:8].flip(0)
    model(views(), mode='loss')
    assert seen[1].shape == (4, 12)
    torch.testing.assert_close(seen[1], keys[:4, :12])


def test_queue_too_small_for_k():
    head = dict(type='CDCHead', num_clusters=60, instance_dim=C)
    with pytest.raises(ValueError, match='set queue_size to 52 or more'):
        build(head=head)(views(), mode='loss')


def test_modes():
    model = build().eval()
    x = views()[0]
    (rows,) = model(x)
    torch.testing.assert_close(rows, model.backbone(x)[0].mean(dim=(2, 3)))
    assert torch.equal(model.encode(rows), rows)
    samples = [DataSample() for _ in range(8)]
    out = model(x, samples, mode='predict')
    assert all(a is b for a, b in zip(out, samples, strict=True))
    zc = F.normalize(model.neck(model.backbone(x))[0][:, :K], dim=1)
    expected = torch.softmax(zc / 0.1, dim=1)
    torch.testing.assert_close(torch.stack([s.pred_score for s in out]), expected)
    assert all(torch.equal(s.pred_label, s.pred_score.argmax(0)[None]) for s in out)
    torch.testing.assert_close(
        torch.stack([s.pred_score for s in model(rows, mode='predict')]), expected
    )
    with pytest.raises(ValueError, match='mode'):
        model(x, mode='nonsense')


@pytest.mark.parametrize(
    ('inputs', 'given'),
    [
        (views()[0], 'none by name'),
        (views() + views(), 'none by name'),
        (dict(view1=views()[0], weak=views()[0]), 'view1, weak'),
    ],
)
def test_training_names_the_view_that_is_missing(inputs, given):
    with pytest.raises(ValueError, match=f'needs the views view1, view2 .* the data have {given}'):
        build()(inputs, mode='loss')


def test_views_go_by_name():
    x, y = views()
    one, two = build(), build()
    expected = one([x, y], mode='loss')
    losses = two(dict(strong=torch.empty(0), view2=y, view1=x), mode='loss')
    assert all(torch.equal(losses[name], value) for name, value in expected.items())


def test_embeds_what_the_clusters_are_read_from():
    model = build().eval()
    rows = model.encode(views()[0])
    parts = model.embed(rows)
    assert tuple(parts) == model.embeddings
    z = model.neck((rows[..., None, None],))[0]
    torch.testing.assert_close(parts['zc'], F.normalize(z[:, :K], dim=1))
    torch.testing.assert_close(parts['zn'], F.normalize(z[:, K:], dim=1))
    assert torch.equal(parts['z'], torch.cat([parts['zc'], parts['zn']], dim=1))
    torch.testing.assert_close(model.scores(rows), parts['zc'] / 0.1)


def test_mean_and_std_left_unset_are_the_encoders():
    backbone = dict(type='Encoder', backbone=config()['backbone'], mean=[1.0] * 3, std=[2.0] * 3)
    unset = dict(type='MultiViewDataPreprocessor', views=dict(view1=[], view2=[]))
    model = build(backbone=backbone, data_preprocessor=unset)
    assert model.data_preprocessor.mean.flatten().tolist() == [1, 1, 1]
    own = dict(unset, mean=[3.0] * 3, std=[4.0] * 3)
    model = build(backbone=backbone, data_preprocessor=own)
    assert model.data_preprocessor.mean.flatten().tolist() == [3, 3, 3]


def test_starts_with_equal_encoders():
    model = build()
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, model.momentum_encoder.encoder.backbone.state_dict()[name])


def test_checkpoint_without_momentum_encoder_fills_both():
    source, target = build(seed=1), build(seed=2)
    state = {k: v for k, v in source.state_dict().items() if not k.startswith('momentum_encoder.')}
    target.load_state_dict(state, strict=False)
    for key, value in source.neck.state_dict().items():
        assert torch.equal(value, target.momentum_encoder.neck.state_dict()[key])
    # A full checkpoint keeps its own momentum encoder.
    with torch.no_grad():
        source.momentum_encoder.neck.mlp[0].bias.add_(1.0)
    target.load_state_dict(source.state_dict())
    assert torch.equal(
        target.momentum_encoder.neck.mlp[0].bias, source.momentum_encoder.neck.mlp[0].bias
    )


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(momentum=1.5), 'momentum must be between 0 and 1'),
        (dict(queue_size=0), 'queue_size must be at least 1'),
        (
            dict(neck=dict(type='MoCoV2Neck', in_channels=16, hid_channels=16, out_channels=9)),
            r'num_clusters=4 \+ instance_dim=6 = 10 values, but the neck puts out 9',
        ),
        (
            dict(neck=dict(type='MoCoV2Neck', in_channels=32, hid_channels=16)),
            'backbone puts out 16 channels.*in_channels=32',
        ),
        (dict(queue_len=4), 'queue_len'),
    ],
)
def test_refuses_what_cannot_fit(kwargs, message):
    with pytest.raises((ValueError, TypeError), match=message):
        build(**kwargs)


class TestFrozenBackbone:
    def build(self, neck=None, **kwargs):
        backbone = dict(type='ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4,
                        frozen_stages=4)  # fmt: skip
        neck = neck or dict(type='MoCoV2Neck', in_channels=32, hid_channels=16)
        return build(backbone=backbone, neck=neck, **kwargs)

    def test_nothing_of_the_backbone_moves(self):
        model = self.build(symmetric=True).train()
        before = {k: v.clone() for k, v in model.backbone.state_dict().items()}
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0, weight_decay=0.1)
        for _ in range(3):
            losses = model(views(), mode='loss')
            optimizer.zero_grad()
            (losses['loss_infonce'] + losses['loss_cluster']).backward()
            optimizer.step()
            model.train()
        after = model.backbone.state_dict()
        assert all(torch.equal(after[name], value) for name, value in before.items())
        assert all(p.grad is not None for p in model.neck.parameters())

    @pytest.mark.parametrize('symmetric', [True, False])
    def test_one_feature_pass_a_view_serves_both_encoders(self, symmetric):
        model = self.build(symmetric=symmetric).train()
        calls = []
        model.backbone.register_forward_hook(lambda *_: calls.append(1))
        model(views(), mode='loss')
        assert len(calls) == 2
        assert [name for name, _ in model.momentum_encoder.named_children()] == ['neck']

    def test_losses_are_those_of_a_backbone_in_eval_mode(self):
        frozen = self.build()
        free = build(
            backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4,
                          norm_eval=True),
            neck=dict(type='MoCoV2Neck', in_channels=32, hid_channels=16),
        )  # fmt: skip
        own = {k: v for k, v in free.state_dict().items() if not k.startswith('momentum_encoder.e')}
        frozen.load_state_dict(own)
        x = views()
        frozen.train(), free.train()
        expected, losses = free(x, mode='loss'), frozen(x, mode='loss')
        for name, value in expected.items():
            torch.testing.assert_close(losses[name], value)
        torch.testing.assert_close(frozen.queue.rows, free.queue.rows)

    def test_rows_are_as_good_as_images(self):
        images, rows = self.build(symmetric=True), self.build(symmetric=True)
        x = views()
        expected = images(x, mode='loss')
        losses = rows([rows.encode(view) for view in x], mode='loss')
        for name, value in expected.items():
            torch.testing.assert_close(losses[name], value)
        torch.testing.assert_close(rows.queue.rows, images.queue.rows)

    def test_a_model_without_an_encoder_takes_rows(self):
        neck = dict(type='MoCoV2Neck', in_channels=5, hid_channels=16)
        model = build(backbone=None, neck=neck)
        losses = model([torch.randn(8, 5) for _ in range(2)], mode='loss')
        assert all(value.isfinite() for value in losses.values())
        with pytest.raises(ValueError, match='has no encoder and takes rows'):
            model(views(), mode='loss')

    def test_rows_cannot_train_an_encoder(self):
        with pytest.raises(ValueError, match='freeze=True'):
            build()([torch.randn(8, 16) for _ in range(2)], mode='loss')

    def test_a_backbone_alone_also_starts_the_momentum_encoder(self):
        source = self.build(seed=1)
        target = self.build(seed=2)
        with torch.no_grad():
            target.neck.mlp[0].weight.add_(1)
        state = {f'backbone.{k}': v for k, v in source.backbone.state_dict().items()}
        target.load_state_dict(state, strict=False)
        assert torch.equal(target.momentum_encoder.neck.mlp[0].weight, target.neck.mlp[0].weight)

    def test_keys_are_shuffled_only_if_the_neck_has_batch_norm(self, monkeypatch):
        calls = []
        monkeypatch.setattr(
            'cdc_mm.models.clusterers.cdc.shuffled_forward',
            lambda module, x: calls.append(1) or module(x),
        )
        monkeypatch.setattr('cdc_mm.models.clusterers.cdc.get_world_size', lambda: 2)
        self.build()(views(), mode='loss')
        assert not calls
        neck = dict(
            type='NonLinearNeck', in_channels=32, hid_channels=8, norm_cfg=dict(type='BN1d')
        )
        self.build(neck=neck)(views(), mode='loss')
        assert calls


def test_estimated_sizes_are_state_of_training_alone():
    """Checkpoints of equal sizes are tested, and started from, with estimated ones and back."""
    assigner = dict(type='SinkhornAssigner', cluster_sizes='estimated')
    head = config()['head']
    equal, estimated = build(), build(head=dict(head, assigner=assigner))
    extra = {'head.assigner.sizes'}
    assert estimated.state_dict().keys() - equal.state_dict().keys() == extra
    for purpose in ('test', 'init'):
        check_weights(estimated, equal.state_dict(), 'x.pth', purpose)
        check_weights(equal, estimated.state_dict(), 'x.pth', purpose)
    with pytest.raises(ValueError, match=r'lacks 1 of the .* weights .*head\.assigner\.sizes'):
        check_weights(estimated, equal.state_dict(), 'x.pth', 'resume')
