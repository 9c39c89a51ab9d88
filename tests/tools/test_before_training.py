"""What will be called later is tried before the first iteration."""

import pytest
from helpers import CONFIG, ROOT, SMALL
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        (
            'default_hooks.checkpoint.intervall=2',
            'default_hooks.checkpoint.intervall is read by nothing. Near it: interval',
        ),
        (
            'default_hooks.checkpoint.max_keep_ckpts=few',
            "default_hooks.checkpoint.max_keep_ckpts must be a whole number, got 'few'",
        ),
        ('default_hooks.checkpoint.filename_tmpl=epoch_{x}.pth', 'could be saved: KeyError'),
        ('param_scheduler.0.T_maxx=3', 'T_maxx is no argument of CosineAnnealingLR'),
        ('val_dataloader.collate_fn.type=pseudo_collate', "model: AttributeError: 'list' object"),
        ('param_scheduler.0.end=0', 'end should be larger than begin'),
        (
            'val_evaluator=[{"type":"DumpResults","out_file_path":"/proc/none/x.pkl"}]',
            'val_evaluator.out_file_path /proc/none/x.pkl cannot be written to',
        ),
    ],
)
def test_mistakes_of_later_show_first(tmp_path, call, option, message, capfd):
    key, _, value = option.partition('=')
    if value.startswith('['):
        config = tmp_path / 'config.py'
        config.write_text(
            f"_base_ = '{ROOT / CONFIG}'\n{key} = dict(_delete_=True, "
            'type=\'DumpResults\', out_file_path="/proc/none/x.pkl")\n'
        )
        options = SMALL
    else:
        config, options = CONFIG, (*SMALL, option)
    with pytest.raises(SystemExit) as stopped:
        call('train', config, '--work-dir', tmp_path / 'work', options=options)
    text = str(stopped.value).splitlines()
    assert text[0].startswith('error: ') and message in text[0] and len(text) == 2
    assert 'epoch' not in capfd.readouterr().out and not list(tmp_path.rglob('*.pth'))


@HOOKS.register_module()
class PutsCodeIntoCheckpoints(Hook):
    """Its checkpoints cannot be pickled."""

    def before_save_checkpoint(self, runner, checkpoint):
        checkpoint['code'] = lambda: None


def test_a_checkpoint_that_cannot_be_saved_shows_before_the_first_iteration(tmp_path, call, capfd):
    config = tmp_path / 'config.py'
    config.write_text(
        f"_base_ = '{ROOT / CONFIG}'\ncustom_hooks = [dict(type='PutsCodeIntoCheckpoints')]\n"
    )
    with pytest.raises(SystemExit, match=r'no checkpoint of this training could be saved: .*ickl'):
        call('train', config, '--work-dir', tmp_path / 'work', options=SMALL)
    assert 'epoch' not in capfd.readouterr().out


def test_the_rehearsal_leaves_nothing_behind(tmp_path, call):
    call('train', CONFIG, '--work-dir', tmp_path, '--no-validate', options=(
        *SMALL, 'train_cfg.max_epochs=1', 'train_dataloader.batch_size=700'))  # fmt: skip
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {
        '.lock', 'run.json', 'last_checkpoint', 'epoch_1.pth', 'cdc_digits.py'}  # fmt: skip
    assert sum(path.is_dir() for path in tmp_path.iterdir()) == 1  # of the log


@pytest.mark.parametrize(
    ('tool', 'args', 'message'),
    [
        ('test', ['--out', '/proc/none/x.csv'], '--out /proc/none/x.csv cannot be written to'),
        ('test', ['--out', 'x.txt', '--out-item', 'metrics'], r'x\.txt: the name must end with'),
        ('eval_knn', ['--out', '/proc/none/x.json'], 'cannot be written to'),
        ('eval_kmeans', ['--out', 'x.txt'], 'the name must end with'),
        ('eval_kmeans', ['--clusters', '/proc/none/x.csv'], '--clusters /proc/none/x.csv cannot'),
        ('analysis_tools/similarity', ['--out', '/proc/none/x.json'], 'cannot be written to'),
        ('analysis_tools/tsne', ['--out', '/proc/none/x'], 'cannot be written to'),
    ],
)
def test_what_is_written_last_is_checked_first(call, tool, args, message):
    with pytest.raises(SystemExit, match=message):
        call(tool, CONFIG, 'none.pth', *args, options=SMALL)


@pytest.mark.parametrize(
    ('lines', 'message'),
    [
        ("val_dataloader = dict(_delete_=True, batch_size=9, dataset=dict(type='Digits'))\n"
         "val_evaluator = dict(_delete_=True, type='ClusteringMetric')\nval_cfg = dict()",
         'AutoEncoder predicts nothing that could be tested. '
         'tools/eval_knn.py, tools/eval_kmeans.py and configs/linear/ judge its features. Set '
         'val_dataloader, val_evaluator and val_cfg to None'),
        ("custom_hooks = [dict(type='ReclusterHook')]",
         'ReclusterHook works on clusters, and AutoEncoder has none: leave the hook out'),
        ("custom_hooks = [dict(type='SelfLabelHook')]",
         'SelfLabelHook works on clusters, and AutoEncoder has none'),
        ("model = dict(_delete_=True, type='SelfLabel', clusterer=_base_.model)",
         'AutoEncoder predicts no clusters that could be its labels'),
    ],
)  # fmt: skip
def test_a_pretext_is_not_asked_for_clusters(tmp_path, call, lines, message):
    config = tmp_path / 'config.py'
    base = ROOT / 'configs/baselines/ae/ae_digits.py'
    config.write_text(f"_base_ = '{base}'\n{lines}\n")
    with pytest.raises(SystemExit) as stopped:
        call('train', config, '--work-dir', tmp_path / 'work', options=['train_cfg.max_epochs=1'])
    assert message in str(stopped.value)
    assert not list((tmp_path / 'work').glob('*.pth'))
