import pytest
import torch
from mmpretrain.registry import BATCH_AUGMENTS, MODELS

FLIP = [dict(type='kornia/RandomHorizontalFlip', p=0.5)]
AFFINE = [dict(type='kornia/RandomAffine', degrees=30, p=1.0)]


def build(**kwargs):
    return MODELS.build(dict(type='MultiViewDataPreprocessor') | kwargs)


def images(n=6, c=3):
    return torch.randint(0, 256, (n, c, 8, 8), dtype=torch.uint8)


def test_makes_views_of_the_batch():
    x = images()
    out = build(num_views=2, transforms=[FLIP])(dict(inputs=x, data_samples=None), True)['inputs']
    assert len(out) == 2
    for view in out:
        for original, image in zip(x.float() / 255, view, strict=True):
            assert torch.allclose(image, original) or torch.allclose(image, original.flip(-1))


def test_every_sample_and_every_view_has_its_own_draw():
    x = images(1).expand(8, -1, -1, -1)
    a, b = build(num_views=2, transforms=[AFFINE])(dict(inputs=x), True)['inputs']
    together = torch.cat([a, b])
    for i in range(16):
        for j in range(i):
            assert not torch.allclose(together[i], together[j])


def test_different_transforms_for_each_view():
    x = images()
    never, always = ([dict(type='kornia/RandomHorizontalFlip', p=p)] for p in (0.0, 1.0))
    out = build(num_views=[1, 1], transforms=[never, always])(dict(inputs=x), True)['inputs']
    torch.testing.assert_close(out[0], x / 255)
    torch.testing.assert_close(out[1], x.flip(-1) / 255)


def test_transforms_of_view_i_apply_to_a_pipelines_view_i():
    x = [images(), images()]
    never, always = ([dict(type='kornia/RandomHorizontalFlip', p=p)] for p in (0.0, 1.0))
    model = build(num_views=[1, 1], transforms=[never, always])
    out = model(dict(inputs=x), True)['inputs']
    torch.testing.assert_close(out[0], x[0] / 255)
    torch.testing.assert_close(out[1], x[1].flip(-1) / 255)
    with pytest.raises(ValueError, match='made 3 views'):
        model(dict(inputs=[images()] * 3), True)


def test_pipelines_views_are_only_normalised_without_transforms():
    x = [images(), images()]
    out = build(mean=[10.0] * 3, std=[5.0] * 3)(dict(inputs=x), True)['inputs']
    for view, original in zip(out, x, strict=True):
        torch.testing.assert_close(view, (original.float() - 10) / 5, rtol=1e-5, atol=1e-5)


def test_evaluation_only_normalises_and_turns_bgr_into_rgb():
    x = images()
    model = build(transforms=[AFFINE], mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], to_rgb=True)
    out = model(dict(inputs=x, data_samples=['kept']), False)
    mean, std = torch.tensor([1.0, 2, 3])[:, None, None], torch.tensor([4.0, 5, 6])[:, None, None]
    expected = (x.flip(1).float() - mean) / std
    torch.testing.assert_close(out['inputs'], expected, rtol=1e-5, atol=1e-5)
    assert out['data_samples'] == ['kept']


def test_transforms_see_rgb():
    x = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    x[:, 0] = 255  # blue in BGR
    out = build(num_views=1, transforms=[FLIP], to_rgb=True)(dict(inputs=x), True)['inputs'][0]
    assert bool((out[:, 2] == 1).all()) and bool((out[:, :2] == 0).all())


def test_same_seed_same_views():
    x = images()
    model = build(transforms=[AFFINE])
    outs = []
    for _ in range(2):
        torch.manual_seed(3)
        outs.append(torch.cat(model(dict(inputs=x), True)['inputs']))
    assert torch.equal(*outs)


def test_refuses_uneven_settings():
    with pytest.raises(ValueError, match='num_views has 2 entries and transforms 1'):
        build(num_views=[1, 1], transforms=[FLIP])
    with pytest.raises(KeyError, match='kornia/NoSuch'):
        build(num_views=2, transforms=[[dict(type='kornia/NoSuch')]])


def test_kornia_is_registered():
    assert 'kornia/ColorJitter' in BATCH_AUGMENTS


def test_settings_of_the_augmentation_stay_out_of_checkpoints():
    solarize = dict(type='kornia/RandomSolarize', thresholds=0.1, additions=0.1)
    module = build(num_views=2, transforms=[[solarize]])
    assert not [name for name in module.state_dict() if 'augment' in name]
