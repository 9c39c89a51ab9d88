import copy

import pytest
import torch
import torchvision
from mmpretrain.registry import MODELS

from cdc_mm.engine.hooks.pretrained_backbone_hook import check_pretrained_backbone
from cdc_mm.models.encoders import TorchvisionEncoder, build_encoder
from cdc_mm.models.loading import load_backbone

CONVNET = dict(type='SmallConvNet', channels=(4, 8), strides=(2, 2))
VIT = dict(
    type='VisionTransformer',
    arch=dict(embed_dims=8, num_layers=2, num_heads=2, feedforward_channels=16),
    img_size=16,
    patch_size=8,
)
MVIT = dict(embed_dims=8, num_layers=2, num_heads=1, downscale_indices=[1])
TIMM_VIT = dict(
    type='TimmEncoder', name='vit_tiny_patch16_224', img_size=32, embed_dim=12, depth=2, num_heads=2
)


def build(cfg):
    torch.manual_seed(0)
    encoder = build_encoder(copy.deepcopy(cfg))
    encoder.init_weights()
    return encoder


def images(size=16):
    return torch.randn(3, 3, size, size)


@pytest.mark.parametrize(
    ('cfg', 'width', 'size'),
    [
        (CONVNET, 8, 16),
        (dict(type='ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4), 32, 16),
        (VIT, 8, 16),
        (dict(VIT, out_type='raw'), 8, 16),
        (dict(VIT, out_type='featmap'), 8, 16),
        (dict(VIT, out_type='avg_featmap'), 8, 16),
        (dict(type='MobileNetV2', widen_factor=0.1), 1280, 32),
        # Its stages widen, and embed_dims is the first one's.
        (dict(type='MViT', arch=MVIT, img_size=32), 16, 32),
        # Both streams.
        (dict(VIT, type='RevVisionTransformer', out_type='avg_featmap'), 16, 16),
        # Its tokens come as (B, D, T).
        (dict(type='EfficientFormer', arch='l1'), 448, 224),
        (TIMM_VIT, 12, 32),
        (dict(type='TimmEncoder', name='resnet10t', in_chans=3), 512, 32),
        # A layer behind the pooling makes its rows wider than its maps.
        (dict(type='TimmEncoder', name='mobilenetv3_small_050'), 1024, 32),
        (dict(type='TorchvisionEncoder', name='shufflenet_v2_x0_5'), 1024, 32),
        (dict(type='TorchvisionEncoder', name='mobilenet_v3_small'), 576, 32),
    ],
)
def test_rows_are_always_two_dimensional(cfg, width, size):
    encoder = build(cfg).eval()
    rows = encoder(images(size))
    assert rows.shape == (3, width) and rows.isfinite().all()
    assert encoder.feat_dim == width


@pytest.mark.parametrize(('name', 'size'), [('googlenet', 32), ('inception_v3', 75)])
def test_auxiliary_classifiers_have_no_part(name, size, tmp_path):
    """In training torchvision would give what they say, in the place of features."""
    file = tmp_path / 'torchvision.pth'
    torch.save(torchvision.models.get_model(name, init_weights=False).state_dict(), file)
    encoder = TorchvisionEncoder(name, weights=str(file))
    encoder.init_weights()
    rows = encoder.train()(images(size))
    assert rows.shape == (3, encoder.feat_dim)
    rows.sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


@pytest.mark.parametrize(
    'cfg',
    [
        dict(type='TorchvisionEncoder', name='shufflenet_v2_x0_5'),
        dict(type='TimmEncoder', name='mobilenetv3_small_050'),
        dict(type='MobileNetV2', widen_factor=0.1),
    ],
)
@pytest.mark.parametrize('prefix', ['encoder.backbone.', ''])
def test_weights_of_any_backbone_are_found_by_all_readers(cfg, prefix, tmp_path):
    """In a checkpoint of this project, and in a file that holds the backbone alone."""
    encoder, file = build(cfg), str(tmp_path / 'x.pth')
    state = encoder.backbone.state_dict()
    torch.save(dict(state_dict={prefix + k: v for k, v in state.items()}), file)
    encoder.load_weights(file)
    load_backbone(encoder.backbone, file)
    check_pretrained_backbone(encoder, file)


def test_rows_are_the_models_own():
    """As timm and torchvision would give them; what a feature map is averaged to."""
    timm = build(TIMM_VIT).eval()
    x = images(32)
    torch.testing.assert_close(timm(x), timm.backbone.forward_features(x)[:, 0])
    net = torchvision.models.shufflenet_v2_x0_5().eval()
    own = build(dict(type='TorchvisionEncoder', name='shufflenet_v2_x0_5')).eval()
    own.backbone.load_state_dict(net.state_dict(), strict=False)
    net.fc = torch.nn.Identity()
    torch.testing.assert_close(own(x), net(x))
    convnet = build(CONVNET).eval()
    torch.testing.assert_close(convnet(x), convnet.backbone(x)[0].mean(dim=(2, 3)))
    # mmpretrain's ViT gives its class token; raw tokens begin with it.
    x = images()
    token, raw = (build(dict(VIT, out_type=kind)).eval() for kind in ('cls_token', 'raw'))
    torch.testing.assert_close(raw(x), token(x))


def test_knows_mean_std_and_size():
    timm = build(TIMM_VIT)
    assert timm.mean == timm.std == [127.5] * 3 and timm.input_size == 32
    torchvision = build(dict(type='TorchvisionEncoder', name='shufflenet_v2_x0_5'))
    assert torchvision.mean == pytest.approx([123.675, 116.28, 103.53])
    assert torchvision.input_size == 224
    assert build(CONVNET).mean is None
    own = dict(type='Encoder', backbone=CONVNET, mean=[1, 2, 3], std=[4, 5, 6], input_size=9)
    assert (build(own).mean, build(own).input_size) == ([1, 2, 3], 9)


@pytest.mark.parametrize(
    'cfg',
    [
        dict(type='Encoder', backbone=CONVNET, freeze=True),
        # Its own freezing forgets the mode as soon as somebody calls train().
        dict(type='Encoder', backbone=dict(VIT, drop_rate=0.5), freeze=True),
        dict(TIMM_VIT, freeze=True, proj_drop_rate=0.5),
        dict(type='ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4, frozen_stages=4),
    ],
)
def test_a_frozen_one_stays_in_evaluation_mode(cfg):
    encoder = build(cfg)
    owner = torch.nn.Sequential(encoder, torch.nn.Dropout())
    for _ in range(2):
        owner.train()
        assert encoder.frozen and not any(m.training for m in encoder.modules())
    before = copy.deepcopy(encoder.state_dict())
    x = images(32 if cfg['type'] == 'TimmEncoder' else 16)
    assert torch.equal(encoder(x), encoder(x)) and not encoder(x).requires_grad
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())
    assert not any(p.requires_grad for p in encoder.parameters())


def test_one_that_is_trained_follows_the_mode():
    encoder = build(CONVNET)
    assert not encoder.frozen and encoder.training
    assert encoder(images()).requires_grad
    assert not encoder.eval().backbone.training and encoder.train().backbone.training


def test_an_encoder_is_not_wrapped_again():
    inner = build(dict(type='Encoder', backbone=CONVNET))
    assert build_encoder(inner) is inner
    assert build_encoder(inner.backbone).backbone is inner.backbone


@pytest.mark.parametrize('kind', ['Encoder', 'TimmEncoder', 'TimmConvNet', 'TorchvisionEncoder'])
def test_weights_fill_all_of_it_or_are_refused(kind, tmp_path):
    cfg = dict(
        Encoder=dict(type='Encoder', backbone=VIT),
        TimmEncoder=TIMM_VIT,
        # Named neither as a ResNet nor as a ViT.
        TimmConvNet=dict(type='TimmEncoder', name='mobilenetv3_small_050'),
        TorchvisionEncoder=dict(type='TorchvisionEncoder', name='shufflenet_v2_x0_5'),
    )[kind]
    source = build(cfg)
    with torch.no_grad():
        for p in source.parameters():
            p.add_(torch.randn_like(p))
    state = source.backbone.state_dict()
    classifier = 'classifier' if kind == 'TimmConvNet' else 'fc'
    extra = {f'{classifier}.weight': torch.zeros(1), 'head.bias': torch.zeros(1)}
    torch.save({**state, **extra}, tmp_path / 'x')
    filled = build(dict(cfg, weights=str(tmp_path / 'x')))
    assert all(torch.equal(v, state[k]) for k, v in filled.backbone.state_dict().items())
    first = next(name for name in state if name.endswith('weight') and '.' in name)
    torch.save({k: v for k, v in state.items() if k != first}, tmp_path / 'y')
    with pytest.raises(ValueError, match=f'fills .* of the .* weights.*{first}'):
        build(dict(cfg, weights=str(tmp_path / 'y')))
    with pytest.raises(FileNotFoundError):
        build(dict(cfg, weights=str(tmp_path / 'z')))


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(type='TimmEncoder', name='vit_tiny_patch99'), 'knows no model vit_tiny_patch99'),
        (dict(TIMM_VIT, pretrained=True, weights='x'), 'pretrained=True or weights=x, not both'),
        (dict(type='TorchvisionEncoder', name='resnet51'), 'no model resnet51; it has resnet101'),
    ],
)
def test_refuses_what_cannot_be(cfg, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(cfg)
