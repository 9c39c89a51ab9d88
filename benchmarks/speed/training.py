"""The training step of CDC: under the runner, bare, and beside what others train."""

import contextlib
import copy
import io
import itertools
import tempfile
import time
from typing import Callable, List

import numpy as np
import torch
from augmentation import VIEW
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS, MODELS
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader, Dataset

from cdc_mm import apis

from .measuring import Row, Settings, counted, peak_memory, ratio
from .sides import compare_sides, side

STEP_BATCH = 128

_runs = itertools.count()


@DATASETS.register_module()
class DecodedImages(BaseDataset):
    """Random images of 32 pixels, as if they had been read and decoded."""

    def __init__(self, count: int, **kwargs) -> None:
        self.count = count
        super().__init__(ann_file='', **kwargs)

    def load_data_list(self) -> List[dict]:
        """Noise."""
        images = np.random.RandomState(0).randint(256, size=(self.count, 32, 32, 3), dtype=np.uint8)
        return [dict(img=image, img_shape=(32, 32), gt_label=0) for image in images]


def recipe(settings: Settings, batch: int, iterations: int, workers: int = 0) -> Config:
    """The CIFAR-10 recipe of the paper on such images."""
    cfg = apis.read_config('configs/cdc_r18_cifar10.py')
    narrow = settings.pick({}, dict(stem_channels=4, base_channels=4))
    cfg.model.backbone.update(narrow)
    cfg.model.neck.in_channels = settings.pick(512, 32)
    cfg.model.queue_size = settings.pick(4096, 16)
    cfg.train_dataloader = dict(
        batch_size=batch,
        num_workers=workers,
        drop_last=True,
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='default_collate'),
        dataset=dict(
            type='DecodedImages', count=batch * iterations, pipeline=[dict(type='PackInputs')]
        ),
    )
    cfg.train_cfg = dict(by_epoch=True, max_epochs=1)
    for name in ('val', 'test'):
        for part in ('cfg', 'dataloader', 'evaluator'):
            cfg[f'{name}_{part}'] = None
    # The parts of a runner are found by its name, which has no fraction of a second otherwise.
    cfg.experiment_name = f'benchmark{next(_runs)}'
    cfg.default_hooks.checkpoint = None
    for name in ('contact_sheet', 'visualization'):
        del cfg.default_hooks[name]
    return cfg


class Bare:
    """The same step in a loop of one's own: no runner, no hooks, no log."""

    def __init__(self, runner) -> None:
        self.model = copy.deepcopy(runner.model)
        self.loader = runner.train_dataloader
        self.optimizer = sgd(self.model)
        self.batches = iter(())

    def __call__(self) -> None:
        """One step on the next batch."""
        batch = next(self.batches, None)
        if batch is None:
            self.batches = iter(self.loader)
            batch = next(self.batches)
        data = self.model.data_preprocessor(batch, True)
        losses = self.model(**data, mode='loss')
        loss = sum(value for name, value in losses.items() if 'loss' in name)
        loss.backward()
        clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()


def sgd(model: nn.Module) -> torch.optim.SGD:
    params = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.SGD(params, lr=0.06, momentum=0.9, weight_decay=5e-4)


def networks_alone(bare: Bare, symmetric: bool = True) -> Callable:
    """The passes of the networks and the optimiser, on views that are there."""
    model = copy.deepcopy(bare.model)
    optimizer = sgd(model)
    views = model.data_preprocessor(next(iter(bare.loader)), True)['inputs']
    views = [views['view1'], views['view2']][: 2 if symmetric else 1]

    def step() -> None:
        loss = sum(model.project(view).square().mean() for view in views)
        for view in views:
            model.project_key(view)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


class InTurn(Hook):
    """After each iteration of the runner, one of each of the others; times all."""

    priority = 'VERY_LOW'

    def __init__(self, others: dict, wait: Callable) -> None:
        self.others, self.wait = others, wait
        self.seconds = {name: [] for name in ('runner', *others)}

    def before_train(self, runner) -> None:
        """Warm the others up."""
        for function in self.others.values():
            function()
        self.start = time.perf_counter()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Take the times."""
        self.wait()
        self.seconds['runner'].append(time.perf_counter() - self.start)
        for name, function in self.others.items():
            start = time.perf_counter()
            function()
            self.wait()
            self.seconds[name].append(time.perf_counter() - start)
        self.start = time.perf_counter()


def build(cfg: Config):
    apis.set_dataloader_defaults(cfg)
    runner = apis.build_runner(cfg)
    apis.prepare_training(runner)
    runner.model.init_weights()
    return runner


def training_step(settings: Settings) -> List[Row]:
    batch, iterations = settings.pick((16, 7), (8, 3))
    on_gpu = settings.device != 'cpu'
    batch, iterations = (512, 60) if on_gpu and not settings.quick else (batch, iterations)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        cfg = recipe(settings, batch, iterations)
        cfg.work_dir = folder
        runner = build(cfg)
        bare = Bare(runner)
        others = dict(bare=bare, networks=networks_alone(bare))
        hook = InTurn(others, torch.accelerator.synchronize if on_gpu else lambda: None)
        runner.register_hook(hook)
        runner.train()
    seconds = {name: values[1:] for name, values in hook.seconds.items()}  # the first warms up
    note = f'{counted(bare)}, {peak_memory(bare, settings.device) / 2**20:.0f} MiB at most'
    name = f'training step of CDC, ResNet-18 at 32 pixels, batch {batch}'
    speed = batch / np.median(seconds['bare'])
    return [
        Row(name, "the runner's", 'a bare loop', ratio(seconds['runner'], seconds['bare']), 1.05),
        Row(
            name,
            f'a bare loop ({speed:.0f} images/s)',
            'the networks alone, on views that are there',
            ratio(seconds['bare'], seconds['networks']),
            1.10,
            note,
        ),
        waiting_share(settings, batch),
    ]


def waiting_share(settings: Settings, batch: int) -> Row:
    """How long the step waits for its data, with two workers."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        cfg = recipe(settings, batch, settings.pick(6, 3), settings.pick(2, 0))
        cfg.work_dir = folder
        runner = build(cfg)
        runner.train()
    waited, whole = (
        runner.message_hub.get_scalar(f'train/{name}').data[0][1:] for name in ('data_time', 'time')
    )
    return Row(
        'share of the step that waits for data',
        f'{settings.pick(2, 0)} workers',
        'the whole step',
        waited.sum() / whole.sum(),
    )


def mmpretrain_moco(settings: Settings) -> List[Row]:
    """One way from view 1 to the keys of view 2, as MMPretrain's MoCo does it."""
    return compare_steps('one way', 'cdc_one_way', 'mmpretrain', "MMPretrain's MoCo", settings)


def lightly_moco(settings: Settings) -> List[Row]:
    """Both ways, in the setting of Lightly's CIFAR-10 benchmark."""
    return compare_steps('both ways', 'cdc', 'lightly', "Lightly's MoCo", settings)


def compare_steps(
    ways: str, ours: str, theirs: str, reference: str, settings: Settings
) -> List[Row]:
    batch = settings.pick(STEP_BATCH, 8)
    return compare_sides(
        f'training step from decoded images, {ways}, batch {batch}',
        ('CDC, views made for the batch', f'{reference}, views image by image'),
        (side(ours, settings), side(theirs, settings)),
        theirs,
        settings,
        rounds=3,
        limit=1.0,
        images=batch,
        note='no workers on either side',
    )


def cdc_step(settings: Settings, symmetric: bool = True) -> Callable:
    with tempfile.TemporaryDirectory() as folder:
        batch = settings.pick(STEP_BATCH, 8)
        cfg = recipe(settings, batch, 4)
        cfg.work_dir = folder
        cfg.model.symmetric = symmetric
        return Bare(build(cfg))


def mmpretrain_step(settings: Settings) -> Callable:
    batch = settings.pick(STEP_BATCH, 8)
    baseline = apis.read_config('configs/baselines/mocov2/mocov2_r18_cifar10.py')
    baseline.model.backbone.update(settings.pick({}, dict(stem_channels=4, base_channels=4)))
    baseline.model.neck.in_channels = settings.pick(512, 32)
    preprocessor = dict(
        type='SelfSupDataPreprocessor', mean=[125.3, 123.0, 113.9], std=[63.0, 62.1, 66.7]
    )
    stock = Bare.__new__(Bare)
    stock.model = MODELS.build(dict(baseline.model, data_preprocessor=preprocessor))
    stock.model.init_weights()
    stock.model.to(settings.device).train()
    multi_view = dict(type='MultiView', num_views=2, transforms=[VIEW])
    dataset = DATASETS.build(
        dict(type='DecodedImages', count=4 * batch, pipeline=[multi_view, dict(type='PackInputs')])
    )
    stock.loader = DataLoader(dataset, batch, collate_fn=default_collate, drop_last=True)
    stock.optimizer, stock.batches = sgd(stock.model), iter(())
    return stock


def lightly_step(settings: Settings) -> Callable:
    from lightly.loss import NTXentLoss
    from lightly.models import ResNetGenerator
    from lightly.models.modules.heads import MoCoProjectionHead
    from lightly.models.utils import (
        batch_shuffle,
        batch_unshuffle,
        deactivate_requires_grad,
        update_momentum,
    )
    from lightly.transforms import MoCoV2Transform
    from PIL import Image

    batch = settings.pick(STEP_BATCH, 8)
    transform = MoCoV2Transform(input_size=32, min_scale=0.08, gaussian_blur=0.0)
    pixels = np.random.RandomState(0).randint(256, size=(4 * batch, 32, 32, 3), dtype=np.uint8)

    class Views(Dataset):
        def __len__(self) -> int:
            return len(pixels)

        def __getitem__(self, index: int):
            return transform(Image.fromarray(pixels[index]))

    resnet = ResNetGenerator('resnet-18', 1, num_splits=8)
    backbone = nn.Sequential(*list(resnet.children())[:-1], nn.AdaptiveAvgPool2d(1), nn.Flatten())
    query = nn.Sequential(backbone, MoCoProjectionHead(512, 512, 128)).to(settings.device)
    key = copy.deepcopy(query)
    deactivate_requires_grad(key)
    criterion = NTXentLoss(temperature=0.1, memory_bank_size=(4096, 128)).to(settings.device)
    optimizer = sgd(query)
    loader, batches = DataLoader(Views(), batch, drop_last=True), [iter(())]

    def loss(x, y):
        with torch.no_grad():
            shuffled, order = batch_shuffle(y)
            keys = batch_unshuffle(key(shuffled), order)
        return criterion(query(x), keys)

    def step() -> None:
        views = next(batches[0], None)
        if views is None:
            batches[0] = iter(loader)
            views = next(batches[0])
        one, two = (view.to(settings.device) for view in views)
        update_momentum(query, key, m=0.99)
        (0.5 * (loss(one, two) + loss(two, one))).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


init_default_scope('mmpretrain')
