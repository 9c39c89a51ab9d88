"""--resume with another config: what may change changes, the rest is refused or told."""

import shutil

import pytest
import torch
from helpers import CONFIG, ROOT, SMALL, log_of


def write_config(folder, epochs):
    """A warm-up by iterations and a cosine by epochs, as in most recipes."""
    path = folder / 'config.py'
    path.write_text(
        f"_base_ = '{ROOT / CONFIG}'\n"
        'param_scheduler = [\n'
        "    dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=3),\n"
        f"    dict(type='CosineAnnealingLR', T_max={epochs}, end={epochs}, by_epoch=True),\n"
        ']\n'
    )
    return path


def lrs(folder):
    """The learning rate behind each checkpoint."""
    return {
        path.name: torch.load(path, weights_only=True)['optimizer']['param_groups'][0]['lr']
        for path in folder.glob('epoch_*.pth')
    }


def train(call, work_dir, epochs, *flags, options=()):
    work_dir.mkdir(exist_ok=True)
    config = write_config(work_dir, epochs)
    call('train', config, '--work-dir', work_dir, '--no-validate', *flags, options=(
        *SMALL, 'train_dataloader.batch_size=700', f'train_cfg.max_epochs={epochs}',
        'default_hooks.checkpoint.max_keep_ckpts=9', 'randomness.seed=0', *options))  # fmt: skip


@pytest.mark.filterwarnings('error:Detected call of')
def test_more_epochs_bring_their_schedule(tmp_path, call, capsys):
    train(call, tmp_path / 'whole', 4)
    train(call, tmp_path / 'parts', 2)
    frozen = lrs(tmp_path / 'parts')['epoch_2.pth']
    train(call, tmp_path / 'parts', 4, '--resume')
    whole, parts = (lrs(tmp_path / name) for name in ('whole', 'parts'))
    for name in ('epoch_3.pth', 'epoch_4.pth'):
        assert parts[name] == pytest.approx(whole[name], rel=1e-6, abs=1e-12), name
    assert parts['epoch_3.pth'] != frozen
    text = capsys.readouterr().out
    assert 'The schedule is another one than in the checkpoint (T_max 2 -> 4, end 2 -> 4)' in text
    # The same config says nothing, and goes on to the last bit.
    (tmp_path / 'parts' / 'epoch_4.pth').unlink()
    train(call, tmp_path / 'parts', 4, '--resume')
    text = capsys.readouterr().out
    assert 'schedule' not in text and 'warning' not in text


def test_another_batch_size_is_told_and_epochs_stay_epochs(tmp_path, call, capsys):
    train(call, tmp_path, 2)
    train(call, tmp_path, 4, '--resume', options=['train_dataloader.batch_size=300'])
    text = capsys.readouterr().out
    assert 'an epoch had 2 batches in the checkpoint and has 4 now' in text
    meta = torch.load(tmp_path / 'epoch_4.pth', weights_only=True)['meta']
    assert (meta['epoch'], meta['iter']) == (4, 16) and '-1 day' not in text + log_of(tmp_path)


def test_within_an_epoch_another_batch_size_is_refused(tmp_path, call):
    within = ['default_hooks.checkpoint.by_epoch=False', 'default_hooks.checkpoint.interval=1']
    train(call, tmp_path, 2, options=within)
    for path in (tmp_path / 'iter_4.pth', tmp_path / 'last_checkpoint'):
        path.unlink()
    with pytest.raises(SystemExit, match=r'iter_3\.pth is from within an epoch of 2 batches.* 4\.'):
        train(call, tmp_path, 2, '--resume', options=[*within, 'train_dataloader.batch_size=300'])


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        (
            'model.head.t=0.9',
            r'other settings \(model\.head\.t: .* in the checkpoint, 0\.9 now\)',
        ),
        ('optim_wrapper.optimizer.weight_decay=0.5', r'optimizer\.weight_decay: .* 0\.5 now'),
        ('train_dataloader.dataset.split=test', 'was trained on 1437 images, and here are 360'),
    ],
)
def test_another_model_optimiser_or_data_are_refused(trained, tmp_path, call, option, message):
    for name in ('epoch_1.pth', 'run.json'):
        shutil.copy(trained[0] / name, tmp_path)
    with pytest.raises(SystemExit, match=message) as stopped:
        call('train', CONFIG, '--work-dir', tmp_path, '--resume', options=(*SMALL, option))
    assert f'load_from={tmp_path}/epoch_1.pth' in str(stopped.value)


def test_the_learning_rate_may_change(trained, tmp_path, call, capsys):
    for name in ('epoch_1.pth', 'run.json'):
        shutil.copy(trained[0] / name, tmp_path)
    call('train', CONFIG, '--work-dir', tmp_path, '--resume', '--no-validate', options=(
        *SMALL, 'train_cfg.max_epochs=2', 'optim_wrapper.optimizer.lr=1e-5',
        'default_hooks.logger.interval=7', 'train_dataloader.num_workers=1',
        'optim_wrapper.optimizer.fused=False'))  # fmt: skip
    text = capsys.readouterr().out
    assert 'Resumed with other settings: optim_wrapper.optimizer.lr: ' in text
    assert text.count('Resumed with other settings') == 1
    assert lrs(tmp_path)['epoch_2.pth'] <= 1e-5
