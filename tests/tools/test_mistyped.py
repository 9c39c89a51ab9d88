"""Mistyped keys and types end a tool with one line, which names their path in the config."""

import shutil

import pytest
import torch
from helpers import CONFIG, ROOT, SMALL
from PIL import Image


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('randomnes.seed=5', r'there is no randomnes .*Near it: randomness'),
        ('custom_hook.a=1', r'there is no custom_hook .*Near it: custom_hooks'),
        ('optim_wrapper.paramwise_cfg.norm_decay=0', r'Near it: .*paramwise_cfg\.norm_decay_mult'),
        ('env_cfg.cudnn_bench=True', r'Near it: env_cfg\.cudnn_benchmark'),
        ('default_hooks.loger.interval=1', r'default_hooks\.loger has no type\. Near it: '
         r'default_hooks\.logger'),
        ('default_hooks.timr.type=IterTimerHook', r'default_hooks\.timr adds a second '
         r'IterTimerHook\. Near it: default_hooks\.timer'),
        ('default_hooks.chekpoint.type=SafeCheckpointHook', r'Near it: default_hooks\.checkpoint'),
        ('default_hooks.colapse_watch=None', r'default_hooks\.colapse_watch takes no hook away\. '
         r'Near it: default_hooks\.collapse_watch'),
        ('default_hooks.visualization.draw_scor=1', r'default_hooks\.visualization\.draw_scor is '
         r'no argument of VisualizationHook\. Near it: draw_score'),
        ('default_hooks.ema.type=EMAHook default_hooks.ema.momentom=0.1',
         r'default_hooks\.ema\.momentom is no argument of EMAHook\. Near it: momentum'),
        ('default_hooks.broadcast_bn.when=1', r'default_hooks\.broadcast_bn\.when is no argument '
         'of BroadcastBNHook, which takes none'),
        ('default_hooks.logger.intervall=1', r'default_hooks\.logger\.intervall is no argument '
         r'of LoggerHook\. Near it: interval'),
        ('model.head.assigner.typ=SinkhornAssigner', r'model\.head\.assigner has no type, '
         'but typ'),
        ('model.head.assigner.type=SinkhornAsigner', r'model\.head\.assigner\.type: there is '
         r'no SinkhornAsigner\. Near it: .*SinkhornAssigner'),
        ('optim_wrapper.optimizer.type=Adamw', r'optim_wrapper\.optimizer\.type: there is no Adamw'
         r'\. Near it: .*AdamW'),
        ('optim_wrapper.optimizer.momentom=1', r'optim_wrapper\.optimizer\.momentom is no argument '
         'of AdamW'),
        ('param_scheduler.0.Tmax=1', r'param_scheduler\[0\]\.Tmax is no argument of .*T_max'),
        ('val_evaluator.type=ClusterMetric', r'val_evaluator\.type: there is no ClusterMetric\. '
         'Near it: .*ClusteringMetric'),
        ('data_preprocessor.views.view1.blur.kernel_size=0',
         r'data_preprocessor: .*Kernel size must be'),
    ],
)  # fmt: skip
def test_the_path_is_named(call, tmp_path, option, message):
    with pytest.raises(SystemExit, match=message) as stopped:
        call('train', CONFIG, '--work-dir', tmp_path, options=(*SMALL, *option.split()))
    line, hint = str(stopped.value).splitlines()
    assert line.startswith('error: ') and 'CDC_MM_TRACEBACK' in hint


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ("custom_hooks = [dict(typ='KNNHook')]", r'custom_hooks\[0\] has no type, but typ'),
        ("custom_hook = [dict(type='KNNHook')]", r'custom_hook is read by nothing\. Near it: cus'),
        ('model = dict(head=dict(taau=1))',
         r'model\.head\.taau is no argument of CDCHead\..*: tau'),
    ],
)  # fmt: skip
def test_so_it_is_in_a_file(call, tmp_path, text, message):
    (tmp_path / 'x.py').write_text(f"_base_ = '{ROOT / CONFIG}'\n{text}\n")
    with pytest.raises(SystemExit, match=message):
        call('train', tmp_path / 'x.py', '--work-dir', tmp_path / 'work', options=SMALL)
    if 'hook' not in text:
        with pytest.raises(SystemExit, match=message):
            call('run_seeds', tmp_path / 'x.py', '--work-dir', tmp_path / 'runs', options=SMALL)


def test_a_seed_for_all_seeds_is_refused(call, tmp_path):
    for tool, args in (('run_seeds', ()), ('temperature_sweep', ('--t', 0.1))):
        tool = f'analysis_tools/{tool}' if tool == 'temperature_sweep' else tool
        with pytest.raises(SystemExit, match=r'randomness\.seed is set by the number of each seed'):
            call(tool, CONFIG, *args, '--work-dir', tmp_path, options=['randomness.seed=5'])


@pytest.mark.parametrize('args', [('test',), ('load_from',), ('resume',)], ids=lambda x: x[0])
def test_a_checkpoint_of_nan_is_refused(trained, call, tmp_path, args):
    work_dir, _ = trained
    checkpoint = torch.load(work_dir / 'epoch_2.pth', weights_only=True)
    checkpoint['state_dict']['neck.mlp.0.weight'].fill_(float('nan'))
    path = tmp_path / 'bad.pth'
    torch.save(checkpoint, path)
    reason = rf'{path} holds NaN or infinity in 1 of \d+ weights: neck\.mlp\.0\.weight'
    with pytest.raises(SystemExit, match=reason):
        if args[0] == 'test':
            call('test', CONFIG, path, '--work-dir', tmp_path, options=SMALL)
        elif args[0] == 'resume':
            call('train', CONFIG, '--resume', path, '--work-dir', tmp_path, options=SMALL)
        else:
            call('train', CONFIG, '--work-dir', tmp_path / 'new',
                 options=(*SMALL, f'load_from={path}'))  # fmt: skip


FOLDER = 'configs/cdc_r18_cifar10_folder.py'


def test_identical_images_in_one_cluster_are_told_at_the_end(call, tmp_path, capfd):
    """However short the run was, and of a test too."""
    for split in ('train', 'test'):
        (tmp_path / 'data' / split).mkdir(parents=True)
        Image.new('RGB', (32, 32), 'red').save(tmp_path / 'data' / split / '0.png')
        for i in range(1, 40):
            shutil.copy(tmp_path / 'data' / split / '0.png', tmp_path / f'data/{split}/{i}.png')
    options = [
        f'data_root={tmp_path / "data"}', 'num_clusters=3', 'epochs=1', 'batch_size=8',
        'num_workers=0', 'queue_size=None', 'model.backbone.stem_channels=4',
        'model.backbone.base_channels=4', 'model.neck.in_channels=32',
        'train_cfg.val_interval=1',
    ]  # fmt: skip
    call('train', FOLDER, '--work-dir', tmp_path / 'work', options=options)
    told = 'of 40 images, one cluster holds 100 % of the images'
    assert f'warning: In the last validation, {told}' in capfd.readouterr().out
    call('test', FOLDER, tmp_path / 'work/epoch_1.pth', '--work-dir', tmp_path / 'work',
         options=options)  # fmt: skip
    assert f'warning: In the test, {told}' in capfd.readouterr().out


def test_batches_without_statistics_are_refused(call, tmp_path):
    for i in range(16):
        (tmp_path / 'data').mkdir(exist_ok=True)
        Image.effect_noise((32, 32), 50).convert('RGB').save(tmp_path / 'data' / f'{i}.png')
    options = [f'data_root={tmp_path / "data"}', 'image_size=32', 'num_workers=0',
               'num_clusters=2', 'model.backbone.stem_channels=4',
               'model.backbone.base_channels=4', 'model.neck.in_channels=32']  # fmt: skip
    with pytest.raises(SystemExit, match=r'one image each.*1x1.*batch_size=16'):
        call('train', 'configs/cdc_r18_folder.py', '--work-dir', tmp_path / 'work',
             options=[*options, 'batch_size=8'])  # fmt: skip
    call('train', 'configs/cdc_r18_folder.py', '--work-dir', tmp_path / 'work', '--no-validate',
         options=[*options, 'batch_size=16', 'epochs=1'])  # fmt: skip
