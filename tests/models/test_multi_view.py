import pytest
import torch
import torchvision.transforms.functional as tv
from helpers import ROOT
from mmengine.config import Config
from mmpretrain.registry import BATCH_AUGMENTS, MODELS
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop

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


@pytest.mark.parametrize(
    ('name', 'crop'),
    [('cdc_r18_cifar10', (32, 0.08)), ('cdc_r18_stl10', (96, 0.08)), ('cdc_r50_imagenet', None)],
)
def test_augmentations_of_the_configs_are_torchvisions(name, crop):
    """SimCLR's and MoCo v2's are defined by torchvision's transforms."""
    cfg = Config.fromfile(ROOT / f'configs/{name}.py')
    steps = {
        step.type.removeprefix('kornia/'): BATCH_AUGMENTS.build(step)
        for step in cfg.data_preprocessor.transforms[0]
    }
    x = torch.rand(200, 3, 32, 32)
    jitter, grey = steps['ColorJitter'], steps['RandomGrayscale']
    made = jitter(x)
    drawn = jitter._params
    changed = drawn['batch_prob'] == 1
    assert 0.7 < changed.float().mean() < 0.9
    assert torch.equal(made[~changed], x[~changed])
    functions = (
        ('brightness', tv.adjust_brightness),
        ('contrast', tv.adjust_contrast),
        ('saturation', tv.adjust_saturation),
        ('hue', tv.adjust_hue),
    )
    for i, factors in enumerate(zip(*[drawn[f'{key}_factor'] for key, _ in functions])):
        if changed[i]:
            expected = x[i]
            for k in drawn['order'].tolist():
                expected = functions[k][1](expected, float(factors[k]))
            torch.testing.assert_close(made[i], expected, rtol=0, atol=2e-3)
    for key, low, high in (
        ('brightness', 0.6, 1.4), ('contrast', 0.6, 1.4), ('saturation', 0.6, 1.4),
        ('hue', -0.1, 0.1),
    ):  # fmt: skip
        values = drawn[f'{key}_factor']
        assert low <= values.min() < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < values.max() <= high
    made = grey(x)
    changed = grey._params['batch_prob'] == 1
    assert 0.1 < changed.float().mean() < 0.3
    torch.testing.assert_close(made[changed], tv.rgb_to_grayscale(x[changed], 3), rtol=0, atol=2e-3)
    if crop is None:  # made in the data workers by mmpretrain, which calls Pillow
        assert steps['RandomGaussianBlur'].p == 0.5 and tuple(cfg.view[2].sigma) == (0.1, 2.0)
        assert (cfg.crop[0].scale, tuple(cfg.crop[0].crop_ratio_range)) == (224, (0.2, 1.0))
        return
    assert 'RandomGaussianBlur' not in steps and steps['RandomHorizontalFlip'].p == 0.5
    size, scale = crop
    image = torch.rand(400, 3, size, size)
    assert steps['RandomResizedCrop'](image).shape == image.shape
    corners = steps['RandomResizedCrop']._params['src']
    width, height = (corners[:, 2] - corners[:, 0] + 1).T
    areas = (width * height / size**2).numpy()
    reference = [
        box[2] * box[3] / size**2
        for box in (
            RandomResizedCrop.get_params(image[0], (scale, 1), (3 / 4, 4 / 3)) for _ in areas
        )
    ]
    assert ks_2samp(areas, reference).pvalue > 0.001
