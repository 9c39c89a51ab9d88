import pytest
import torch
import torchvision.transforms.functional as tv
from helpers import ROOT
from mmengine.config import Config
from mmpretrain.registry import BATCH_AUGMENTS, MODELS
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop

FLIP = dict(flip=dict(type='kornia/RandomHorizontalFlip', p=0.5))
AFFINE = dict(affine=dict(type='kornia/RandomAffine', degrees=30, p=1.0))
NEVER, ALWAYS = (dict(flip=dict(type='kornia/RandomHorizontalFlip', p=p)) for p in (0.0, 1.0))


def build(**kwargs):
    return MODELS.build(dict(type='MultiViewDataPreprocessor') | kwargs)


def images(n=6, c=3):
    return torch.randint(0, 256, (n, c, 8, 8), dtype=torch.uint8)


def train(model, inputs):
    return model(dict(inputs=inputs, data_samples=None), True)['inputs']


def test_makes_views_of_the_batch_by_name():
    x = images()
    model = build(views=dict(view1=FLIP, view2=FLIP))
    out = train(model, x)
    assert model.view_names == tuple(out) == ('view1', 'view2')
    for view in out.values():
        for original, image in zip(x.float() / 255, view, strict=True):
            assert torch.allclose(image, original) or torch.allclose(image, original.flip(-1))


def test_every_sample_and_every_view_has_its_own_draw():
    x = images(1).expand(8, -1, -1, -1)
    together = torch.cat([*train(build(views=dict(a=AFFINE, b=AFFINE)), x).values()])
    for i in range(16):
        for j in range(i):
            assert not torch.allclose(together[i], together[j])


def test_draws_come_in_the_order_of_the_views():
    """Those of all steps of the first view, then those of the second: kornia's own."""
    x = images()
    steps = dict(
        affine=dict(type='kornia/RandomAffine', degrees=30, p=0.5),
        gamma=dict(type='kornia/RandomGamma', gamma=(0.5, 2.0), p=0.5),
    )
    affine, gamma = (BATCH_AUGMENTS.build(step) for step in steps.values())
    torch.manual_seed(3)
    expected = [gamma(affine(x / 255)) for _ in range(2)]
    torch.manual_seed(3)
    out = train(build(views=dict(strong=steps, weak=steps)), x)
    assert tuple(out) == ('strong', 'weak')
    for view, value in zip(out.values(), expected, strict=True):
        assert torch.equal(view, value)


def test_different_steps_for_each_view():
    x = images()
    out = train(build(views=dict(weak=NEVER, strong=ALWAYS)), x)
    torch.testing.assert_close(out['weak'], x / 255)
    torch.testing.assert_close(out['strong'], x.flip(-1) / 255)


def test_steps_of_the_ith_name_apply_to_a_pipelines_view_i():
    x = [images(), images()]
    model = build(views=dict(weak=NEVER, strong=ALWAYS))
    out = train(model, x)
    torch.testing.assert_close(out['weak'], x[0] / 255)
    torch.testing.assert_close(out['strong'], x[1].flip(-1) / 255)
    with pytest.raises(ValueError, match=r'made 3 views .* has 2: weak, strong\. .*num_views'):
        train(model, [images()] * 3)


def test_a_batch_that_was_not_collated_is_told():
    with pytest.raises(ValueError, match=r"collate_fn=dict\(type='default_collate'\)"):
        train(build(), list(images(2)))  # as many as views


def test_steps_may_be_a_list_and_none_leaves_one_out():
    x = images()
    steps = dict(**ALWAYS, grey=None)
    for views in (
        dict(view1=list(ALWAYS.values()), view2=steps, weak=None),
        dict(weak=None, view1=steps, view2=steps),
    ):
        model = build(views=views)
        out = train(model, x)
        assert model.view_names == tuple(out) == ('view1', 'view2')
        for view in out.values():
            torch.testing.assert_close(view, x.flip(-1) / 255)


@pytest.mark.parametrize('names', [None, ('view1',), ('view1', 'view2', 'weak')])
@pytest.mark.parametrize('empty', [(), dict(), dict(flip=None)])
def test_without_steps_every_name_has_the_normalised_image(names, empty):
    views = names and {name: empty for name in names}
    model = build(views=views, mean=[10.0] * 3, std=[5.0] * 3)
    assert model.view_names == (names or ('view1', 'view2'))
    x = images()
    out = train(model, x)
    assert tuple(out) == model.view_names
    for view in out.values():
        torch.testing.assert_close(view, (x.float() - 10) / 5, rtol=1e-5, atol=1e-5)
    assert len({view.data_ptr() for view in out.values()}) == len(out)


def test_pipelines_views_are_only_normalised_without_steps():
    x = [images(), images()]
    out = train(build(mean=[10.0] * 3, std=[5.0] * 3), x)
    for view, original in zip(out.values(), x, strict=True):
        torch.testing.assert_close(view, (original.float() - 10) / 5, rtol=1e-5, atol=1e-5)


def test_a_list_for_models_that_take_one():
    x = images()
    out = train(build(views=dict(view1=NEVER, view2=ALWAYS), named=False), x)
    assert isinstance(out, list) and len(out) == 2
    torch.testing.assert_close(out[1], x.flip(-1) / 255)


@pytest.mark.parametrize('training', [True, False])
def test_rows_pass_as_they_are(training):
    model = build(views=dict(view1=AFFINE, view2=AFFINE), mean=[1.0] * 3, std=[2.0] * 3)
    rows = dict(view1=torch.randn(4, 5), neighbor=torch.randn(4, 5))
    out = model(dict(inputs=rows, data_samples=['kept']), training)
    assert list(out['inputs']) == list(rows) and out['data_samples'] == ['kept']
    assert all(torch.equal(out['inputs'][name], rows[name]) for name in rows)
    same = model(dict(inputs=rows['view1']), training)['inputs']
    assert torch.equal(same, rows['view1'])
    with pytest.raises(ValueError, match=r'only rows .*\(6, 3, 8, 8\)'):
        model(dict(inputs=dict(view1=images())), training)


def test_evaluation_only_normalises_and_turns_bgr_into_rgb():
    x = images()
    views = dict(view1=AFFINE, view2=AFFINE)
    model = build(views=views, mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], to_rgb=True)
    out = model(dict(inputs=x, data_samples=['kept']), False)
    mean, std = torch.tensor([1.0, 2, 3])[:, None, None], torch.tensor([4.0, 5, 6])[:, None, None]
    expected = (x.flip(1).float() - mean) / std
    torch.testing.assert_close(out['inputs'], expected, rtol=1e-5, atol=1e-5)
    assert out['data_samples'] == ['kept']
    both = model(dict(inputs=[x, x]), False)['inputs']  # test-time augmentation
    assert isinstance(both, list)
    torch.testing.assert_close(both[1], expected, rtol=1e-5, atol=1e-5)


def test_steps_see_rgb():
    x = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    x[:, 0] = 255  # blue in BGR
    out = train(build(views=dict(view1=FLIP), to_rgb=True), x)['view1']
    assert bool((out[:, 2] == 1).all()) and bool((out[:, :2] == 0).all())


def test_same_seed_same_views():
    x = images()
    model = build(views=dict(view1=AFFINE, view2=AFFINE))
    outs = []
    for _ in range(2):
        torch.manual_seed(3)
        outs.append(torch.cat([*train(model, x).values()]))
    assert torch.equal(*outs)


def test_refuses_what_are_no_steps():
    for views in ({}, dict(view1=None)):
        with pytest.raises(ValueError, match='has no view'):
            build(views=views)
    for steps in (dict(type='kornia/RandomHorizontalFlip'), ['kornia/RandomHorizontalFlip']):
        with pytest.raises(ValueError, match='steps of view1 must be a dict of named configs'):
            build(views=dict(view1=steps))
    with pytest.raises(KeyError, match='kornia/NoSuch'):
        build(views=dict(view1=dict(step=dict(type='kornia/NoSuch'))))


def test_kornia_is_registered():
    assert 'kornia/ColorJitter' in BATCH_AUGMENTS


def test_settings_of_the_augmentation_stay_out_of_checkpoints():
    solarize = dict(type='kornia/RandomSolarize', thresholds=0.1, additions=0.1)
    module = build(views=dict(view1=dict(solarize=solarize)))
    assert not [name for name in module.state_dict() if 'augment' in name]


@pytest.mark.parametrize(
    ('name', 'crop'),
    [('cdc_r18_cifar10', (32, 0.08)), ('cdc_r18_stl10', (96, 0.08)), ('cdc_r50_imagenet', None)],
)
def test_augmentations_of_the_configs_are_torchvisions(name, crop):
    """SimCLR's and MoCo v2's are defined by torchvision's transforms."""
    cfg = Config.fromfile(ROOT / f'configs/{name}.py')
    assert cfg.data_preprocessor.views.view1 == cfg.data_preprocessor.views.view2
    steps = {
        step.type.removeprefix('kornia/'): BATCH_AUGMENTS.build(step)
        for step in cfg.data_preprocessor.views.view1.values()
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
        assert steps['RandomGaussianBlur'].p == 0.5 and tuple(cfg.view.blur.sigma) == (0.1, 2.0)
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
