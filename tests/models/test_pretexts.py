"""Objectives of models that give features and no clusters, ours and the host's as configured."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import ROOT
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmpretrain.registry import MODELS

from cdc_mm.features.outputs import known_outputs, model_rows
from cdc_mm.models.encoders import PoolingConvNet
from cdc_mm.models.pretexts import ConvDecoder
from cdc_mm.models.pretexts.functional import (
    discriminator_loss,
    gaussian_divergence,
    generator_loss,
    mask_pixels,
    reconstruction_error,
    relative_comparisons,
)

METHODS = (
    'ae', 'aevb', 'byol', 'dae', 'gan', 'mocov2', 'mocov3', 'simclr', 'swav', 'swwae', 'triplets'
)  # fmt: skip


def build(method, **changes):
    """The model of a config of the digits, in float64."""
    cfg = Config.fromfile(ROOT / f'configs/baselines/{method}/{method}_digits.py')
    cfg.merge_from_dict({f'model.{key}': value for key, value in changes.items()})
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    model.init_weights()
    return model.double()


def images(count=6):
    return torch.randn(count, 1, 8, 8, dtype=torch.float64)


def log_softmax(logits):
    logits = np.asarray(logits)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def units(rows):
    rows = rows.detach().numpy()
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# Plain functions.


def test_reconstruction_error_is_minus_the_log_likelihood():
    output, target = images(), images()
    of_pixels = -torch.distributions.Normal(output, 1.0).log_prob(target)
    expected = of_pixels.sum((1, 2, 3)).mean() - 64 * 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(reconstruction_error(output, target), expected)


def test_gaussian_divergence_equals_torchs():
    mean, log_variance = torch.randn(2, 7, 3, dtype=torch.float64)
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    prior = torch.distributions.Normal(torch.zeros_like(mean), 1.0)
    expected = torch.distributions.kl_divergence(posterior, prior).sum(1).mean()
    torch.testing.assert_close(gaussian_divergence(mean, log_variance), expected)


def test_masked_pixels():
    before = torch.rand(50, 3, 20, 20) + 1
    masked = mask_pixels(before, 0.25)
    hit = masked == 0
    assert torch.equal(hit.any(1), hit.all(1))  # in all channels
    assert float(hit.float().mean()) == pytest.approx(0.25, abs=0.02)
    assert torch.equal(masked[~hit], before[~hit])
    assert torch.equal(mask_pixels(before, 0.0), before)


def test_adversarial_losses_equal_the_equations():
    real, fake = torch.randn(2, 9, dtype=torch.float64)
    d_real, d_fake = real.sigmoid().numpy(), fake.sigmoid().numpy()
    expected = -np.log(d_real).mean() - np.log(1 - d_fake).mean()
    assert float(discriminator_loss(real, fake)) == pytest.approx(expected)
    assert float(generator_loss(fake)) == pytest.approx(-np.log(d_fake).mean())


def test_relative_comparisons_equal_a_loop():
    anchor, near = torch.randn(2, 5, 3, dtype=torch.float64).numpy() * 0.5
    slack = [
        max(0, 1 + ((a - near[i]) ** 2).sum() - ((a - other) ** 2).sum())
        for i, a in enumerate(anchor)
        for j, other in enumerate(near)
        if i != j
    ]
    assert 0 < np.count_nonzero(slack) < len(slack)
    value = relative_comparisons(torch.tensor(anchor), torch.tensor(near))
    assert float(value) == pytest.approx(np.mean(slack))


# Models. In evaluation mode rows do not depend on the batch.


def test_autoencoder():
    model, x = build('ae').eval(), images()
    given = model.decoder(model.backbone(x)[0].mean((2, 3)))
    assert given.shape == x.shape
    expected = 0.5 * ((given - x) ** 2).sum() / len(x)
    torch.testing.assert_close(model.loss([x])['loss'], expected)


def test_denoising_autoencoder_gives_the_whole_image_back():
    model, x = build('dae', mask_share=0.5).eval(), images()
    torch.manual_seed(3)
    loss = model.loss([x])['loss']
    torch.manual_seed(3)
    masked = x * (torch.rand(6, 1, 8, 8, dtype=torch.float64) >= 0.5)
    given = model.decoder(model.backbone(masked)[0].mean((2, 3)))
    torch.testing.assert_close(loss, 0.5 * ((given - x) ** 2).sum() / len(x))


def test_variational_autoencoder_minimises_the_bound():
    model, x = build('aevb').eval(), images()
    torch.manual_seed(3)
    losses = model.loss([x])
    mean, log_variance = model.neck.linear(model.backbone(x)[0].mean((2, 3))).split(32, dim=1)
    torch.manual_seed(3)
    z = mean + torch.randn(6, 32, dtype=torch.float64) * log_variance.exp().sqrt()
    # Equation 10 of the paper, without the constant of p(x | z).
    divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum() / len(x)
    error = 0.5 * ((model.decoder(z) - x) ** 2).sum() / len(x)
    torch.testing.assert_close(losses['loss_reconstruction'], error)
    torch.testing.assert_close(losses['loss_divergence'], divergence)


def unpool(values, found_in, stride):
    """Each value where the largest of its window was, and 0 elsewhere."""
    out = np.zeros_like(found_in)
    for index in np.ndindex(values.shape):
        b, c, i, j = index
        rows, columns = (slice(k * stride, (k + 1) * stride) for k in (i, j))
        window = found_in[b, c, rows, columns]
        place = np.unravel_index(window.argmax(), window.shape)
        out[b, c, rows, columns][place] = values[index]
    return out


def test_what_where_autoencoder():
    model = build('swwae', **{'backbone.channels': (4, 4, 4, 4)}).eval()
    x, found, before = images(2), [], []
    feature = x
    for layer, stride in zip(model.backbone.layers, (1, 2, 2, 2)):
        feature = layer(feature)
        before.append(feature.detach().numpy())
        feature = F.max_pool2d(feature, stride)
        found.append(feature)
    torch.testing.assert_close(model.backbone(x)[0], feature)
    middle = 0
    for i in (3, 2, 1, 0):
        stride = (1, 2, 2, 2)[i]
        if stride > 1:
            feature = torch.from_numpy(unpool(feature.detach().numpy(), before[i], stride))
        feature = model.decoder[i](feature)
        target = found[i - 1] if i else x
        error = 0.5 * ((feature - target) ** 2).sum() / len(x)
        middle += error if i else 0
    losses = model.loss([x])
    torch.testing.assert_close(losses['loss_reconstruction'], error)
    torch.testing.assert_close(losses['loss_middle'], 0.2 * middle)


def test_adversarial_losses_reach_their_own_part_only():
    model, x = build('gan').train(), images(16)
    plain = copy.deepcopy(model)
    torch.manual_seed(3)
    losses = model.loss([x])
    torch.manual_seed(3)
    fake = plain.generator(torch.empty(16, 100, dtype=torch.float64).uniform_(-1, 1))
    d_real = plain.classifier(plain.backbone(x)[0].mean((2, 3))).sigmoid()
    # Batch norm's statistics are those of the images, though generated ones passed, too.
    for a, b in zip(model.backbone.buffers(), plain.backbone.buffers(), strict=True):
        torch.testing.assert_close(a, b)
    d_fake = plain.classifier(plain.backbone(fake)[0].mean((2, 3))).sigmoid()
    expected = dict(
        loss_discriminator=-d_real.log().mean() - (1 - d_fake).log().mean(),
        loss_generator=-d_fake.log().mean(),
    )
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)
        own, whole = (
            torch.autograd.grad(loss, of.parameters(), retain_graph=True, allow_unused=True)
            for loss, of in ((losses[name], model), (value, plain))
        )
        for (weight, _), a, b in zip(model.named_parameters(), own, whole, strict=True):
            if weight.startswith('generator.') == (name == 'loss_generator'):
                torch.testing.assert_close(a, b)
            else:
                assert a is None, weight


def test_triplets_weight_the_dimensions():
    model, views = build('triplets').eval(), [images(), images()]
    with torch.no_grad():
        model.neck.root.uniform_(-1, 1)
    rows = [model.backbone(view)[0].mean((2, 3)) for view in views]
    weight = torch.diag(model.neck.root**2)
    slack = []
    for i, a in enumerate(rows[0]):
        own, *others = (
            (a - rows[1][j]) @ weight @ (a - rows[1][j])
            for j in [i, *(j for j in range(6) if j != i)]
        )
        slack += [F.relu(1 + own - other) for other in others]
    torch.testing.assert_close(model.loss(views)['loss'], torch.stack(slack).mean())


def test_simclr_is_nt_xent():
    model, views = build('simclr').eval(), [images(), images()]
    z = np.concatenate([units(model.neck(model.backbone(view))[0]) for view in views])
    similar = z @ z.T / 0.1
    losses = []
    for i in range(12):  # equation 1 of the paper: all others are negatives
        others = np.exp(np.delete(similar[i], i)).sum()
        losses.append(-np.log(np.exp(similar[i, (i + 6) % 12]) / others))
    assert model.loss(views, None)['loss'].item() == pytest.approx(np.mean(losses))


def averaged(model, name, weight):
    """The slow copy after a step, in its place before it: weights apart from the fast ones."""
    slow = getattr(model, name)
    slow.steps.fill_(1)  # mmengine copies the weights at step 0
    with torch.no_grad():
        for value in slow.module.parameters():
            value.add_(torch.randn_like(value), alpha=0.1)
    fast = torch.nn.Sequential(model.backbone, model.neck)
    return [
        (1 - weight) * s.detach() + weight * f.detach()
        for s, f in zip(slow.module.parameters(), fast.parameters(), strict=True)
    ]


@pytest.mark.parametrize(
    ('method', 'name'), [('byol', 'target_net'), ('mocov3', 'momentum_encoder')]
)
def test_slow_and_fast_networks(method, name):
    model, views = build(method).eval(), [images(), images()]
    MessageHub.get_current_instance().update_info('max_iters', 10)
    expected = averaged(model, name, 0.01 * (math.cos(math.pi / 10) + 1) / 2)
    loss = model.loss(views, None)['loss']
    slow = getattr(model, name).module
    for value, wanted in zip(slow.parameters(), expected, strict=True):
        torch.testing.assert_close(value.detach(), wanted)
    predictor = model.head.predictor
    p = [units(predictor(model.neck(model.backbone(view)))[0]) for view in views]
    k = [units(slow(view)[0]) for view in views]
    if method == 'byol':  # 2 - 2 cos for each direction (equation 2), but for the constant
        wanted = -2 * sum((p[i] * k[1 - i]).sum(1).mean() for i in (0, 1))
    else:  # algorithm 1: ctr(q1, k2) + ctr(q2, k1), times 2 tau
        logits = [p[i] @ k[1 - i].T / 0.2 for i in (0, 1)]
        wanted = -2 * 0.2 * sum(np.diag(log_softmax(x)).mean() for x in logits)
    assert loss.item() == pytest.approx(wanted)


# What all share.


@pytest.mark.parametrize('method', METHODS)
def test_features_come_out(method):
    """By the tools' own way: pooled rows of the backbone, and of a model with a neck unit rows."""
    model = build(method).eval()
    x = images()
    names = known_outputs(model)
    assert names == (('backbone', 'z') if model.neck is not None else ('backbone',))
    rows = model_rows(model, x, 'backbone')
    torch.testing.assert_close(rows, model.backbone(x)[0].mean((2, 3)))
    if 'z' in names:
        z = model_rows(model, x, 'z')
        assert z.shape[0] == 6 and z.isfinite().all()
        torch.testing.assert_close(z.norm(dim=1), torch.ones(6, dtype=torch.float64))
        if method == 'swav':
            torch.testing.assert_close(z, model.neck([(model.backbone(x))]))


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: ConvDecoder(4, (8, 8), 30), 'cannot end at image_size=30'),
        (lambda: ConvDecoder(4, (), 8), 'cannot end at image_size=8'),
        (lambda: build('dae', mask_share=1.0), 'mask_share must be at least 0 and below 1'),
        (lambda: build('swwae', middle_weight=-1), 'middle_weight must not be negative'),
        (lambda: build('swwae', **{'backbone.type': 'SmallConvNet'}), 'take a PoolingConvNet'),
        (lambda: PoolingConvNet(channels=(4, 4), strides=(1,)), 'channels has 2 entries'),
    ],
)
def test_refuses_bad_arguments(make, message):
    with pytest.raises(Exception, match=message):
        make()
