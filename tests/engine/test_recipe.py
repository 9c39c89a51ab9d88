"""What is told before a training that its recipe is not for; the digits stay as they are."""

import random

import numpy as np
import pytest
import torch
from generated import image_folder
from helpers import ROOT
from mmengine.config import Config
from mmpretrain.registry import DATASETS, MODELS
from torch import nn

from cdc_mm.engine import build_runner, prepare_training, read_config, set_dataloader_defaults
from cdc_mm.engine.recipe import check_image_size, check_processes

IMAGENET = str(ROOT / 'configs/cdc_r50_imagenet.py')
SMALL = {
    'model.backbone.depth': 18,
    'model.neck.in_channels': 512,
    'model.neck.hid_channels': 8,
    'model.head.num_clusters': 4,
    'model.head.instance_dim': 4,
    'model.queue_size': 8,
}


def check(options=None, processes=1, config=IMAGENET, model=None):
    cfg = read_config(config, {**(SMALL if config == IMAGENET else {}), **(options or {})})
    return check_processes(cfg, model or MODELS.build(cfg.model), processes)


def test_the_recipe_as_it_is_says_nothing():
    assert check(processes=8) == []
    assert check({'train_dataloader.batch_size': 64}, processes=4) == []
    assert check({'optim_wrapper.accumulative_counts': 2}, processes=4) == []


def test_another_batch_is_told_with_what_to_type():
    (text,) = check(processes=2)
    assert 'for 256 images a step, and here a step has 64 (32 x 2 processes)' in text
    for way in ('--auto-scale-lr', 'batch_size=128', '8 processes instead of 2'):
        assert way in text
    (text,) = check({'optim_wrapper.accumulative_counts': 3}, processes=2)
    assert 'has 192 (32 x 2 processes x 3 accumulated)' in text
    assert 'batch_size=' not in text and 'instead' not in text  # neither divides 256
    assert check({'auto_scale_lr.enable': True}, processes=2) == []


def test_a_batch_that_is_advised_fits_the_data():
    cfg = read_config(IMAGENET, SMALL)
    for images, fits in ((128, True), (127, False)):
        (text,) = check_processes(cfg, nn.Identity(), 2, images)
        assert ('batch_size=128' in text) == fits and '--auto-scale-lr' in text


def test_scaling_that_would_be_wrong_is_refused():
    """mmengine scales by batch times processes, whatever is accumulated."""
    with pytest.raises(ValueError, match=r'accumulative_counts=4.* 256 images a step'):
        check({'auto_scale_lr.enable': True, 'optim_wrapper.accumulative_counts': 4}, processes=2)
    cfg = Config(dict(auto_scale_lr=dict(enable=True)))
    with pytest.raises(ValueError, match='base_batch_size=N'):
        check_processes(cfg, nn.Identity(), 1)


# The second and the third have the batch that the learning rate is for, and leak all the same.
@pytest.mark.parametrize(
    'options',
    [
        {},
        {'train_dataloader.batch_size': 256},
        {'optim_wrapper.accumulative_counts': 8},
        {'auto_scale_lr.enable': True},
    ],
    ids=['as it is', 'whole batch', 'accumulated', 'scaled'],
)
def test_plain_batch_norm_on_one_process_is_refused(options):
    with pytest.raises(ValueError, match=r'for 8 processes, and this is one: .*share') as refused:
        check(options)
    assert 'model.backbone.norm_cfg.type=SplitBN' in str(refused.value)
    assert 'batch_size=256' in str(refused.value)


def test_what_the_refusal_advises_is_accepted():
    advice = {'model.backbone.norm_cfg.type': 'SplitBN', 'train_dataloader.batch_size': 256}
    assert check(advice) == []
    assert len(check({'model.backbone.norm_cfg.type': 'SplitBN'})) == 1  # the batch is told


def test_without_a_trained_batch_norm_nothing_leaks():
    frozen = {'model.backbone.frozen_stages': 4, 'train_dataloader.batch_size': 256}
    assert check(frozen) == []


def test_mocos_baseline_leaks_likewise(tmp_path):
    moco = tmp_path / 'moco.py'
    moco.write_text(
        f'_base_ = {str(ROOT / "configs/baselines/mocov2/mocov2_digits.py")!r}\n'
        'train_dataloader = dict(batch_size=32)\n'
        'auto_scale_lr = dict(base_batch_size=128)\n'
    )
    with pytest.raises(ValueError, match='for 4 processes, and this is one'):
        check(config=str(moco))
    assert check(config=str(moco), processes=4) == []


@pytest.mark.parametrize('base', [None, 128])
def test_a_config_for_one_process_may_have_any_norm(base, tmp_path):
    """The digits, whether or not they state their batch."""
    config = tmp_path / 'digits.py'
    config.write_text(
        f'_base_ = {str(ROOT / "configs/cdc_digits.py")!r}\n'
        f'auto_scale_lr = {None if base is None else dict(base_batch_size=base)}\n'
    )
    assert check(config=str(config)) == []


def build(pipeline, **dataset):
    return DATASETS.build(dict(dataset, pipeline=[dict(type='LoadImage'), *pipeline]))


def crop(scale):
    views = [dict(type='RandomResizedCrop', scale=scale, backend='pillow')]
    return [dict(type='MultiView', num_views=2, transforms=[views]), dict(type='PackInputs')]


def folder(root, pipeline):
    return build(pipeline, type='ImageFolder', data_root=str(root), with_label=False)


@pytest.mark.parametrize('size', [32, 65])
def test_images_far_smaller_than_the_network_wants_are_told(size, tmp_path):
    data = folder(image_folder(tmp_path, size=size), crop(size * 4))
    (text,) = check_image_size(Config(dict(image_size=size * 4)), data)
    assert f'are {size} pixels' in text and f'enlarged to {size * 4}' in text
    assert f'image_size={size}' in text
    assert ('configs/cdc_r18_cifar10_folder.py' in text) == (size == 32)
    assert ('train_prefix= test_prefix=' in text) == (size == 32)
    assert (ROOT / 'configs/cdc_r18_cifar10_folder.py').is_file()
    assert check_image_size(Config(dict(load_from='weights.pth')), data) == []
    (text,) = check_image_size(Config(), data)  # a config without that name
    assert 'image_size=' not in text


def test_images_that_fit_are_not_told_of(tmp_path):
    root = image_folder(tmp_path, size=32)
    for pipeline in (crop(32), crop(60), crop(8), [dict(type='PackInputs')]):
        assert check_image_size(Config(), folder(root, pipeline)) == []


def test_a_size_that_views_get_on_the_device_shows_in_the_validation_data(tmp_path):
    root = image_folder(tmp_path, size=32)
    raw = folder(root, [dict(type='PackInputs')])
    val = folder(root, [dict(type='ResizeEdge', scale=128), dict(type='PackInputs')])
    assert check_image_size(Config(), raw) == []
    assert 'enlarged to 128' in check_image_size(Config(), raw, val)[0]


def test_the_look_at_an_image_draws_no_random_numbers(tmp_path):
    """A training's figures must not depend on it."""

    def numbers():
        return [random.random(), np.random.rand(), torch.rand(()).item()]

    def seed():
        random.seed(3)
        np.random.seed(3)
        torch.manual_seed(3)

    seed()
    expected = numbers()
    seed()
    check_image_size(Config(), folder(image_folder(tmp_path), crop(16)))
    assert numbers() == expected


def test_rows_and_images_that_cannot_be_read_are_left_alone(tmp_path):
    class Rows(list):
        def get_data_info(self, index):
            return dict(sample_idx=index)

    assert check_image_size(Config(), Rows([dict(inputs=torch.ones(4))])) == []
    assert check_image_size(Config(), [torch.ones(4)]) == []
    root = image_folder(tmp_path)
    data = folder(root, crop(128))
    for path in root.rglob('*.jpg'):
        path.write_text('not an image')
    assert check_image_size(Config(), data) == []


def prepare(tmp_path, **options):
    cfg = read_config(str(ROOT / 'configs/cdc_digits.py'))
    cfg.merge_from_dict(dict(work_dir=str(tmp_path), experiment_name=tmp_path.name, **options))
    set_dataloader_defaults(cfg)
    runner = build_runner(cfg)
    told = []
    runner.logger.warning = told.append
    try:
        prepare_training(runner)
    finally:
        del runner.logger.warning
    return told


def test_it_is_told_before_training(tmp_path):
    assert prepare(tmp_path / 'as_it_is') == []
    (text,) = prepare(tmp_path / 'base', auto_scale_lr=dict(base_batch_size=64))
    assert 'for 64 images a step, and here a step has 128' in text
    options = {'train_dataloader.batch_size': 2000, 'train_dataloader.drop_last': False}
    (text,) = prepare(tmp_path / 'whole', **options)
    assert '1437 images' in text and 'train_dataloader.batch_size=1024' in text
    with pytest.raises(ValueError, match=r'train_dataloader\.batch_size=1024 fits'):
        prepare(tmp_path / 'none', **{'train_dataloader.batch_size': 2000})
