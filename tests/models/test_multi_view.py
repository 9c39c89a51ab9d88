import pytest
import torch
from helpers import ROOT
from mmengine.config import Config
from mmpretrain.registry import BATCH_AUGMENTS, MODELS

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
    ('name', 'size'), [('cdc_r18_cifar10', 32), ('cdc_r18_stl10', 96), ('cdc_r50_imagenet', None)]
)
def test_augmentations_of_the_configs_are_simclrs_and_mocov2s(name, size):
    """What the steps compute and draw is compared with torchvision's in tests/models/augments."""
    cfg = Config.fromfile(ROOT / f'configs/{name}.py')
    views = cfg.data_preprocessor.views
    assert views.view1 == views.view2
    steps = {step.pop('type'): dict(step) for step in map(dict, views.view1.values())}
    expected = dict(
        BatchRandomHorizontalFlip={},
        BatchColorJitter=dict(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8),
        BatchRandomGrayscale=dict(p=0.2),
    )
    if size is None:  # the crop is made in the data workers
        expected['BatchGaussianBlur'] = dict(kernel_size=23, sigma=(0.1, 2.0), p=0.5)
        assert cfg.crop[0] == dict(
            type='FastRandomResizedCrop', scale=224, crop_ratio_range=(0.2, 1.0)
        )
    else:
        expected['BatchRandomResizedCrop'] = dict(size=size, scale=(0.08, 1.0))
    assert steps == expected
    # Nothing else is in the way of the batch.
    model = MODELS.build(cfg.data_preprocessor)
    x = torch.randint(0, 256, (4, 3, size or 24, size or 24), dtype=torch.uint8)
    out = train(model, x if size else [x, x])
    assert all(view.shape == x.shape and view.isfinite().all() for view in out.values())
