import errno
import os
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from helpers import run_ranks
from mmengine.fileio import put
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import EpochBasedTrainLoop
from mmpretrain.registry import HOOKS
from mmpretrain.structures import DataSample

from cdc_mm.errors import RunError


class TestSafeCheckpointHook:
    def build(self):
        return HOOKS.build(dict(type='SafeCheckpointHook', interval=1))

    def checkpoint(self):
        return dict(
            meta=dict(epoch=3, seed=np.int64(7)),
            state_dict=dict(weight=torch.ones(2)),
            message_hub=dict(
                log_scalars=dict(loss=HistoryBuffer([1.0], [1])),
                runtime_info=dict(eta=np.float64(2.5), sizes=[np.int64(1), (np.float32(2.0),)]),
                resumed_keys=dict(loss=True, eta=True),
            ),
        )

    def test_file_loads_with_weights_only(self, tmp_path):
        path = tmp_path / 'x.pth'
        torch.save(self.checkpoint(), path)
        with pytest.raises(Exception, match='Weights only load failed'):
            torch.load(path, weights_only=True)

        checkpoint = self.checkpoint()
        self.build().before_save_checkpoint(None, checkpoint)
        torch.save(checkpoint, path)
        loaded = torch.load(path, weights_only=True)
        assert loaded['meta'] == dict(epoch=3, seed=7)
        assert loaded['message_hub']['runtime_info'] == dict(eta=2.5, sizes=[1, (2.0,)])
        assert loaded['message_hub']['resumed_keys'] == dict(eta=True)  # of others it would warn
        assert torch.equal(loaded['state_dict']['weight'], torch.ones(2))

    def test_the_running_message_hub_is_left_alone(self):
        checkpoint = self.checkpoint()
        hub = checkpoint['message_hub']
        self.build().before_save_checkpoint(None, checkpoint)
        assert 'loss' in hub['log_scalars'] and checkpoint['message_hub']['log_scalars'] == {}

    def test_weights_are_not_copied(self):
        checkpoint = self.checkpoint()
        state = checkpoint['state_dict']
        self.build().before_save_checkpoint(None, checkpoint)
        assert checkpoint['state_dict'] is state


class _Saver:
    """A runner as far as saving goes; every checkpoint holds its step."""

    def __init__(self, work_dir):
        self.work_dir, self.epoch, self.iter = str(work_dir), 0, 0
        self.message_hub = MessageHub.get_instance(str(work_dir))
        self.logger = SimpleNamespace(info=lambda text: None)

    def save_checkpoint(self, out_dir, filename, file_client_args, backend_args, meta, **kwargs):
        path = Path(out_dir) / filename
        put(str(meta).encode(), str(path), backend_args=backend_args)


def save_epochs(runner, hook, count):
    for _ in range(count):
        hook.after_train_epoch(runner)
        runner.epoch += 1


class TestSavingSafely:
    def start(self, work_dir, **kwargs):
        runner = _Saver(work_dir)
        hook = HOOKS.build(dict(type='SafeCheckpointHook', interval=1, **kwargs))
        hook.before_train(runner)
        return runner, hook

    @pytest.mark.parametrize('max_keep_ckpts', [-1, 1, 2])
    def test_keeps_the_newest(self, tmp_path, max_keep_ckpts):
        runner, hook = self.start(tmp_path, max_keep_ckpts=max_keep_ckpts)
        save_epochs(runner, hook, 4)
        first = 1 if max_keep_ckpts < 0 else 5 - max_keep_ckpts
        expected = {f'epoch_{i}.pth' for i in range(first, 5)} | {'last_checkpoint'}
        assert set(os.listdir(tmp_path)) == expected
        assert (tmp_path / 'last_checkpoint').read_text() == 'epoch_4.pth'
        if max_keep_ckpts > 0:
            assert runner.message_hub.get_info('keep_ckpt_ids') == list(range(first, 5))

    @pytest.mark.parametrize('name', ['epoch_3.pth', 'last_checkpoint'])
    def test_a_failing_disk_loses_nothing(self, tmp_path, monkeypatch, name):
        runner, hook = self.start(tmp_path, max_keep_ckpts=1)
        save_epochs(runner, hook, 2)
        replace = Path.replace

        def fail(path, target):
            if Path(target).name == name:
                raise OSError(errno.ENOSPC, 'No space left on device')
            return replace(path, target)

        monkeypatch.setattr(Path, 'replace', fail)
        with pytest.raises(RunError, match=f'{name} .*No space left on device.*--resume'):
            save_epochs(runner, hook, 1)
        left = {'epoch_2.pth', 'last_checkpoint'}
        left |= {'epoch_3.pth'} if name == 'last_checkpoint' else set()
        assert set(os.listdir(tmp_path)) == left
        assert (tmp_path / 'last_checkpoint').read_text() == 'epoch_2.pth'

    def test_leaves_a_chosen_backend_alone(self, tmp_path):
        _, hook = self.start(tmp_path, backend_args=dict(backend='local'))
        assert hook.backend_args == dict(backend='local')


def _broadcast(rank, world_size):
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(2), torch.nn.BatchNorm2d(2))
    for layer in model:
        layer.running_mean.fill_(rank + 1.0)
        layer.running_var.fill_(rank + 5.0)
    HOOKS.build(dict(type='BroadcastBNHook')).before_val(SimpleNamespace(model=model))
    return [(layer.running_mean.tolist(), layer.running_var.tolist()) for layer in model]


def test_all_ranks_validate_with_the_statistics_of_rank_0():
    for result in run_ranks(2, _broadcast):
        assert result == [([1.0, 1.0], [5.0, 5.0])] * 2


class _Visualizer:
    def __init__(self):
        self.images = []

    def add_image(self, name, image, step):
        self.images.append((name, image, step))


def fake_runner(work_dir, bgr=False):
    return SimpleNamespace(
        model=SimpleNamespace(data_preprocessor=SimpleNamespace(_channel_conversion=bgr)),
        visualizer=_Visualizer(),
        work_dir=str(work_dir),
        iter=5,
        _train_loop=object.__new__(EpochBasedTrainLoop),
        logger=SimpleNamespace(info=lambda text: None),
    )


def batch(clusters, confidences, values):
    """Images of one value each, (1, 4, 4), with their predictions."""
    images = torch.stack([torch.full((1, 4, 4), v, dtype=torch.uint8) for v in values])
    samples = []
    for cluster, confidence in zip(clusters, confidences, strict=True):
        score = torch.full((3,), (1 - confidence) / 2)
        score[cluster] = confidence
        samples.append(DataSample().set_pred_score(score).set_pred_label(cluster))
    return dict(inputs=images), samples


def run_sheet(runner, batches, **kwargs):
    hook = HOOKS.build(dict(type='ContactSheetHook', **kwargs))
    hook.before_test_epoch(runner)
    for i, (data, samples) in enumerate(batches):
        hook.after_test_iter(runner, i, data, samples)
    hook.after_test_epoch(runner)


class TestContactSheetHook:
    def test_shows_the_most_confident_images_largest_cluster_first(self, tmp_path, monkeypatch):
        drawn = []
        monkeypatch.setattr(
            'cdc_mm.engine.hooks.contact_sheet_hook.draw_contact_sheet',
            lambda rows: drawn.append(rows) or np.zeros((4, 4, 3), np.uint8),
        )
        batches = [
            batch([0, 0, 2], [0.9, 0.5, 0.8], [10, 20, 30]),
            batch([0, 0, 2], [0.7, 0.9, 0.9], [40, 50, 60]),
        ]
        run_sheet(fake_runner(tmp_path), batches, images_per_cluster=2)
        shown = [
            [(title, [int(image[0, 0, 0]) for image in images]) for title, images in rows]
            for rows in drawn
        ]
        titles = 'cluster 0\n4 images', 'cluster 2\n2 images'
        assert shown == [
            [(titles[0], [10, 50]), (titles[1], [60, 30])],
            [(titles[0], [20, 40]), (titles[1], [30, 60])],
        ]

    def test_limits_the_rows(self, tmp_path, monkeypatch):
        drawn = []
        monkeypatch.setattr(
            'cdc_mm.engine.hooks.contact_sheet_hook.draw_contact_sheet',
            lambda rows: drawn.extend(rows) or np.zeros((4, 4, 3), np.uint8),
        )
        run_sheet(fake_runner(tmp_path), [batch([0, 1, 1], [0.9] * 3, [1, 2, 3])], max_clusters=1)
        assert [title for title, _ in drawn] == ['cluster 1\n2 images'] * 2

    def test_writes_the_picture_in_the_right_colours(self, tmp_path):
        runner = fake_runner(tmp_path, bgr=True)
        data, samples = batch([0], [0.9], [0])
        data['inputs'] = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
        data['inputs'][:, 0] = 255  # blue, as BGR
        run_sheet(runner, [(data, samples)], out_dir=str(tmp_path / 'shown'))
        names = []
        for name, sheet, step in runner.visualizer.images:
            assert step == 5
            assert (sheet == (0, 0, 255)).all(axis=-1).sum() == 64 * 64
            stored = cv2.imread(str(tmp_path / f'shown/{name}.png'))
            assert (stored == (255, 0, 0)).all(axis=-1).sum() == 64 * 64
            names.append(name)
        assert names == ['contact_sheet', 'contact_sheet_least_certain']

    @pytest.mark.parametrize('name', ['images_per_cluster', 'max_clusters'])
    def test_refuses_bad_settings(self, name):
        with pytest.raises(ValueError, match=f'{name} must be at least 1'):
            HOOKS.build(dict(type='ContactSheetHook', **{name: 0}))


def _sheet_rank(rank, world_size, work_dir):
    parts = [
        batch([0, 1], [0.9, 0.6], [10, 20]),
        batch([0, 1], [0.8, 0.7], [30, 40]),
    ]
    runner = fake_runner(work_dir)
    run_sheet(runner, [parts[rank]], images_per_cluster=2)
    return len(runner.visualizer.images)


def test_contact_sheet_of_two_ranks_equals_one_process(tmp_path):
    one, two = tmp_path / 'one', tmp_path / 'two'
    run_sheet(fake_runner(one), [batch([0, 1, 0, 1], [0.9, 0.6, 0.8, 0.7], [10, 20, 30, 40])])
    assert run_ranks(2, _sheet_rank, two) == [2, 0]
    for name in ('contact_sheet', 'contact_sheet_least_certain'):
        single, both = (cv2.imread(str(path / f'{name}.png')) for path in (one, two))
        assert np.array_equal(single, both)
