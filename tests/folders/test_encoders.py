import huggingface_hub
import pytest
import torch

from cdc_mm.folders import encoders, find_encoder


@pytest.fixture(autouse=True)
def no_hub(monkeypatch):
    monkeypatch.setattr(encoders, '_reaches_hub', lambda: False)
    monkeypatch.setattr(huggingface_hub, 'try_to_load_from_cache', lambda *_: None)


def cached(monkeypatch, repository):
    def look(repo_id, file):
        return 'here' if (repo_id, file) == (repository, 'model.safetensors') else None

    monkeypatch.setattr(huggingface_hub, 'try_to_load_from_cache', look)


def test_lite_needs_nothing():
    assert find_encoder('lite0').config == dict(
        type='EfficientNetLite', variant=0, freeze=True, mirror=True
    )
    assert find_encoder('lite0').image_size is None


def test_auto_takes_what_is_at_hand_and_says_why(monkeypatch):
    assert find_encoder('auto').config['type'] == 'EfficientNetLite'
    assert 'no DINOv2 is in the cache and its hub cannot be reached' in find_encoder('auto').note
    monkeypatch.setattr(encoders, '_reaches_hub', lambda: True)
    assert 'fetched from its hub' in find_encoder('auto').note
    cached(monkeypatch, 'timm/vit_small_patch14_dinov2.lvd142m')
    found = find_encoder('auto')
    assert 'in the cache' in found.note and found.image_size == 224
    assert found.config == dict(
        type='TimmEncoder', name=encoders.DINOV2, freeze=True, pretrained=True, img_size=224
    )


def test_timm_without_weights_at_hand_is_told_at_once(monkeypatch, tmp_path):
    for name in ('resnet18', 'resnet18.a1_in1k'):
        with pytest.raises(ValueError, match=f'the weights of {name} are not in the cache'):
            find_encoder(f'timm:{name}')
    cached(monkeypatch, 'timm/resnet18.a1_in1k')
    for name in ('resnet18', 'resnet18.a1_in1k'):  # the first stands for the second
        assert find_encoder(f'timm:{name}').config['pretrained']
    torch.save({}, tmp_path / 'x.pth')
    given = find_encoder('timm:resnet34', str(tmp_path / 'x.pth')).config
    assert given['weights'] == str(tmp_path / 'x.pth') and 'pretrained' not in given


def test_weights_that_are_missing(tmp_path):
    for name in ('resnet50', 'torchvision:resnet18', 'configs/cdc_digits.py'):
        with pytest.raises(ValueError, match='needs a file of weights'):
            find_encoder(name)
    with pytest.raises(FileNotFoundError, match='no such file of weights'):
        find_encoder('lite0', str(tmp_path / 'gone.pth'))
