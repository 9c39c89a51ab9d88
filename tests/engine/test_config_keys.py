import types

import pytest
from helpers import CONFIG, ROOT
from mmengine.runner import Runner

from cdc_mm.apis import read_config
from cdc_mm.engine import check_keys, hook_keys

CONFIGS = [p for p in sorted((ROOT / 'configs').rglob('*.py')) if '_base_' not in p.parts]


@pytest.mark.parametrize(
    ('key', 'near'),
    [
        ('randomness.sed', 'randomness.seed'),
        ('env_cfg.cudnn_bench', 'env_cfg.cudnn_benchmark'),
        ('env_cfg.mp_cfg.opencv_threads', 'env_cfg.mp_cfg.opencv_num_threads'),
        ('env_cfg.dist_cfg.time_out', 'env_cfg.dist_cfg.timeout'),
        ('auto_scale_lr.base_batch', 'auto_scale_lr.base_batch_size'),
        ('train_cfg.max_epoch', 'train_cfg.max_epochs'),
        ('val_cfg.fp61', 'val_cfg.fp16'),
        ('train_dataloader.batchsize', 'train_dataloader.batch_size'),
        ('optim_wrapper.clip_gradient', 'optim_wrapper.clip_grad'),
        ('optim_wrapper.paramwise_cfg.norm_decay', 'optim_wrapper.paramwise_cfg.norm_decay_mult'),
        ('optim_wrapper.clip_grad.maxnorm', 'optim_wrapper.clip_grad.max_norm'),
    ],
)
def test_keys_that_nothing_reads_are_refused(key, near):
    cfg = read_config(str(ROOT / CONFIG), {key: 1})
    with pytest.raises(ValueError, match=rf'^{key} is read by nothing\. Near it: .*{near}[.,]'):
        check_keys(cfg)


@pytest.mark.parametrize(
    'options',
    [
        {'optim_wrapper.paramwise_cfg.custom_keys': {'a.bias': dict(lr_mult=0.1)}},
        {'optim_wrapper.type': 'AmpOptimWrapper', 'optim_wrapper.loss_scale': 'dynamic'},
        {'optim_wrapper.constructor': 'MyOwn', 'optim_wrapper.anything': 1},
        {'train_cfg': dict(type='MyLoop', anything=1, _delete_=True)},
        {'train_cfg': dict(by_epoch=False, max_iters=9, _delete_=True)},
        {'env_cfg.dist_cfg.timeout': 60, 'env_cfg.resource_limit': 9},
        {'optim_wrapper.clip_grad': dict(type='value', clip_value=1.0)},
        {'train_dataloader.num_batch_per_epoch': 3},
        {'default_hooks.timer': None, 'default_hooks.rank_watch': None},
        {'default_hooks.timer2': dict(type='KNNHook')},
        {'default_hooks.mine': dict(type='IterTimerHook')},
        {'default_hooks.visualization': dict(type='VisualizationHook', draw_gt=False, show=True)},
        {'custom_hooks': [dict(type='EMAHook', momentum=1e-3, begin_epoch=1, priority='HIGH')]},
        {'custom_hooks': [dict(type='EMAHook', ema_type='CosineEMA', end_momentum=0.0)]},
    ],
)
def test_keys_that_something_reads_pass(options):
    check_keys(read_config(str(ROOT / CONFIG), options))


@pytest.mark.parametrize(
    ('text', 'name', 'near'),
    [
        ("custom_hook = [dict(type='KNNHook')]", 'custom_hook', 'custom_hooks'),
        ('randomnes = dict(seed=5)', 'randomnes', 'randomness'),
        ("load_fom = 'x.pth'", 'load_fom', 'load_from'),
        ('lr = 1\nparam_schedulers = [dict(end=lr)]', 'param_schedulers', 'param_scheduler'),
        ('hooks_of_mine = [dict(a=1)]', 'hooks_of_mine', ''),
        # The base has derived from its own already.
        ("view = dict(flip=dict(type='kornia/RandomHorizontalFlip'))", 'view', ''),
    ],
)
def test_names_in_a_file_that_reach_nothing_are_refused(tmp_path, text, name, near):
    path = tmp_path / 'x.py'
    path.write_text(f"_base_ = '{ROOT / CONFIG}'\n{text}\n")
    with pytest.raises(ValueError, match=rf'^{name} is read by nothing\..*{near}'):
        check_keys(read_config(str(path)))


def test_building_blocks_and_plain_names_pass(tmp_path):
    path = tmp_path / 'x.py'
    path.write_text(
        f"_base_ = '{ROOT / CONFIG}'\n"
        'my_note = 3\n'
        "flip = dict(type='kornia/RandomHorizontalFlip')\n"
        'view = dict(flip=flip)\n'
        'data_preprocessor = dict(views=dict(view1=view))\n'
    )
    check_keys(read_config(str(path)))
    (tmp_path / 'leaf.py').write_text(
        "_base_ = 'x.py'\ndata_preprocessor = dict(views=dict(view2=_base_.flip))\n"
    )
    check_keys(read_config(str(tmp_path / 'leaf.py')))


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_pass_also_as_a_run_writes_them(path, tmp_path):
    cfg = read_config(str(path))
    check_keys(cfg)
    object.__setattr__(cfg, '_format_python_code', False)
    cfg.dump(str(tmp_path / 'dumped.py'))
    check_keys(read_config(str(tmp_path / 'dumped.py')))
    text = (tmp_path / 'dumped.py').read_text()
    (tmp_path / 'dumped.py').write_text(text + "\ncustom_hook=[dict(type='KNNHook')]\n")
    with pytest.raises(ValueError, match=r'^custom_hook is read by nothing'):
        check_keys(read_config(str(tmp_path / 'dumped.py')))


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('train_dataloader', 3, 'train_dataloader must be a dict or None, got 3'),
        ('custom_hooks', ['KNNHook'], r"custom_hooks\[0\] must be a dict, got 'KNNHook'"),
        ('train_dataloader.batch_size', 0, 'train_dataloader.batch_size must be a whole number'),
        ('train_cfg.val_interval', 0, 'train_cfg.val_interval must be .* at least 1, got 0'),
        ('train_dataloader.drop_last', 'yes', "drop_last must be True or False, got 'yes'"),
        ('auto_scale_lr', dict(base_batch_size='x'), 'auto_scale_lr.base_batch_size must be'),
    ],
)
def test_sections_of_another_kind_are_refused(key, value, message):
    with pytest.raises(ValueError, match=rf'digits\.py: .*{message}'):
        read_config(str(ROOT / CONFIG), {key: value})


def test_the_names_of_the_shipped_hooks_are_known():
    names = set(read_config(str(ROOT / CONFIG)).default_hooks)
    assert names - set(hook_keys._OF_RUNNER) == hook_keys._SHIPPED
    logger = types.SimpleNamespace(register_hook=lambda hook: names.add(hook['type']))
    names.clear()
    Runner.register_default_hooks(logger)
    assert names == set(hook_keys._OF_RUNNER.values())
