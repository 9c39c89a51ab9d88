import copy
import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub
from mmpretrain.registry import MODELS

from cdc_mm.models.assigners import sinkhorn_knopp

K, C, B = 4, 6, 8
TAU, T, ALPHA = 0.4, 0.1, 2.0


def build(seed=0, num_clusters=K, norm='BN1d', **kwargs):
    torch.manual_seed(seed)
    neck = dict(type='NonLinearNeck', hid_channels=16, norm_cfg=dict(type=norm))
    model = MODELS.build(
        dict(
            type='CDCMoCoV3',
            backbone=dict(type='SmallConvNet', channels=(8, 16), strides=(2, 2)),
            neck=dict(in_channels=16, with_last_bn_affine=False, **neck),
            predictor=dict(with_avg_pool=False, with_last_bn=False, **neck),
            head=dict(
                type='CDCHead', num_clusters=num_clusters, instance_dim=C, tau=TAU, t=T, alpha=ALPHA
            ),
            momentum=0.9,
            data_preprocessor=dict(type='SelfSupDataPreprocessor'),
        )
        | kwargs
    )
    model.init_weights()
    return model


def views(batch_size=B, dtype=torch.float32):
    return [torch.randn(batch_size, 3, 16, 16, dtype=dtype) for _ in range(2)]


@pytest.fixture(autouse=True)
def schedule():
    """A message hub as in the middle of nothing; returns a setter of the progress."""
    hub = MessageHub.get_current_instance()

    def at(iteration, max_iters):
        hub.update_info('iter', iteration)
        hub.update_info('max_iters', max_iters)

    at(0, 0)
    yield at
    at(0, 0)


def unit(z, k=K):
    return torch.cat([F.normalize(z[:, :k], dim=1), F.normalize(z[:, k:], dim=1)], 1)


@pytest.mark.parametrize('cluster_output', ['projector', 'predictor'])
def test_loss_is_moco_v3_and_equation_7_written_out(cluster_output):
    model = build(cluster_output=cluster_output)
    x = views()
    ref = copy.deepcopy(model)
    losses = model(x, mode='loss')

    ref.momentum_encoder.update(ref, 0.9)
    momentum = ref.momentum_encoder
    z = [ref.neck(ref.backbone(view))[0] for view in x]
    q = [ref.predictor((v,))[0] for v in z]
    k = [unit(momentum.neck(momentum.encoder.backbone(view))[0]) for view in x]
    infonce, cluster = 0.0, 0.0
    for a, b in ((0, 1), (1, 0)):
        logits = unit(q[a]) @ k[b].T / TAU
        # 2 tau times the cross-entropy with the diagonal as positives (MoCo v3, Algorithm 1).
        infonce += 2 * TAU * F.cross_entropy(logits, torch.arange(B))
        source = z if cluster_output == 'projector' else q
        zc = [F.normalize(v[:, :K], dim=1) for v in source]
        targets = sinkhorn_knopp(zc[b])
        cluster -= (targets * F.log_softmax(zc[a] / T, dim=1)).sum(1).mean() / 2
    torch.testing.assert_close(losses['loss_infonce'], infonce)
    torch.testing.assert_close(losses['loss_cluster'], ALPHA * cluster)


@pytest.mark.parametrize('cluster_output', ['projector', 'predictor'])
def test_prediction_reads_the_chosen_output(cluster_output):
    model = build(cluster_output=cluster_output)
    model(views(), mode='loss')
    model.eval()
    x = views()[0]
    z = model.neck(model.backbone(x))[0]
    z = z if cluster_output == 'projector' else model.predictor((z,))[0]
    expected = torch.softmax(F.normalize(z[:, :K], dim=1) / T, dim=1)
    scores = torch.stack([s.pred_score for s in model(x, mode='predict')])
    torch.testing.assert_close(scores, expected)
    # What a checkpoint for testing must have.
    assert ('predictor.' in model.training_only) == (cluster_output == 'projector')


def test_gradient_reaches_all_but_the_momentum_encoder():
    model = build()
    losses = model(views(), mode='loss')
    (losses['loss_infonce'] + losses['loss_cluster']).backward()
    for name, parameter in model.named_parameters():
        moved = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        assert moved == (not name.startswith('momentum_encoder')), name


@pytest.mark.parametrize('progress', [0.0, 0.25, 0.5, 1.0])
def test_momentum_rises_to_one_by_a_half_cosine(progress, schedule):
    schedule(int(1000 * progress), 1000)
    expected = 1 - 0.1 * (1 + math.cos(math.pi * progress)) / 2
    assert build().current_momentum() == pytest.approx(expected)


def test_momentum_of_the_schedule_is_used(schedule):
    schedule(1000, 1000)
    model = build()
    with torch.no_grad():
        model.neck.fc0.weight.add_(1.0)
    before = model.momentum_encoder.neck.fc0.weight.clone()
    model(views(), mode='loss')
    assert torch.equal(model.momentum_encoder.neck.fc0.weight, before)


def test_batch_smaller_than_k_is_topped_up_from_the_queue():
    model = build(num_clusters=20)
    seen = []
    assign = model.head.assigner.assign
    model.head.assigner.assign = lambda zc, past: seen.append((zc, past)) or assign(zc, past)
    model(views(), mode='loss')
    scores = [zc for zc, _ in seen]
    seen.clear()
    model(views(), mode='loss')
    past = seen[0][1]
    # Directions take the other view's scores: first view 2's, then view 1's, which is older.
    torch.testing.assert_close(past, torch.cat([scores[0].flip(0), scores[1].flip(0)])[:12])


def test_frozen_backbone_runs_once_a_view():
    backbone = dict(
        type='ResNet_CIFAR', depth=18, stem_channels=2, base_channels=2, frozen_stages=4
    )
    model = build(backbone=backbone).train()
    calls = []
    model.backbone.register_forward_hook(lambda *_: calls.append(1))
    before = {k: v.clone() for k, v in model.backbone.state_dict().items()}
    losses = model(views(), mode='loss')
    (losses['loss_infonce'] + losses['loss_cluster']).backward()
    assert len(calls) == 2
    assert all(torch.equal(v, before[k]) for k, v in model.backbone.state_dict().items())


def test_refuses_an_unknown_output():
    with pytest.raises(ValueError, match='projector or predictor, got nowhere'):
        build(cluster_output='nowhere')
