from types import SimpleNamespace

import generated
import pytest
import torch
from helpers import ROOT, TINY_CDC, log_of, run_ranks
from helpers import make_runner as build_runner_of
from mmengine.config import Config
from mmpretrain.registry import HOOKS, MODELS

import cdc_mm.apis as apis
from cdc_mm.errors import RunError
from cdc_mm.evaluation.functional import knn_accuracy


def make_runner():
    cfg = Config.fromfile(ROOT / 'configs/cdc_digits.py')
    cfg.model.backbone.channels = [4, 4, 8, 8]
    cfg.model.neck.in_channels = 8
    cfg.train_dataloader.dataset.indices = 200
    cfg.test_dataloader.dataset.indices = 100
    torch.manual_seed(0)
    network = MODELS.build({'data_preprocessor': cfg.data_preprocessor, **cfg.model})
    scalars, lines = [], []
    runner = SimpleNamespace(
        cfg=cfg,
        model=network,
        epoch=0,
        max_epochs=5,
        visualizer=SimpleNamespace(add_scalars=lambda values, step: scalars.append((step, values))),
        logger=SimpleNamespace(info=lines.append),
        scalars=scalars,
        lines=lines,
    )
    return runner


def evaluate(runner, **kwargs):
    hook = HOOKS.build(dict(type='KNNHook', **{'k': 20, 'interval': 1, **kwargs}))
    hook.before_train(runner)
    hook.after_train_epoch(runner)
    return runner.scalars[-1][1]['knn/top1']


@pytest.mark.parametrize('output', ['backbone', 'z'])
def test_equals_the_features_of_both_splits(output, tmp_path):
    runner = make_runner()
    runner.model.train()
    accuracy = evaluate(runner, output=output)
    assert runner.model.training
    assert runner.lines == [f'kNN top-1 after epoch 1: {accuracy:.2f} % (k=20, temperature 0.1)']
    torch.save(runner.model.state_dict(), tmp_path / 'x.pth')
    extract = apis.FeatureExtractor(runner.cfg, str(tmp_path / 'x.pth'), output, cache_dir=tmp_path)
    test, train = extract('test'), extract('train')
    expected = knn_accuracy(test.rows, test.labels, train.rows, train.labels, 20)
    assert accuracy == pytest.approx(expected[0.1])
    assert 15 < accuracy < 100


def test_runs_every_n_epochs_and_after_the_last():
    runner = make_runner()
    hook = HOOKS.build(dict(type='KNNHook', interval=2, k=20))
    hook.before_train(runner)
    for runner.epoch in range(5):
        hook.after_train_epoch(runner)
    assert [step for step, _ in runner.scalars] == [2, 4, 5]


def _evaluate_rank(rank, world_size):
    runner = make_runner()
    if rank:  # statistics of another rank, as without synchronised batch norm
        for layer in runner.model.backbone.layers:
            layer.bn.running_mean.fill_(3.0)
    return evaluate(runner)


def test_two_ranks_equal_one_process():
    accuracy = evaluate(make_runner())
    assert run_ranks(2, _evaluate_rank) == [pytest.approx(accuracy)] * 2


def test_refuses_more_neighbours_than_images():
    with pytest.raises(ValueError, match='k=201, but there are 200 training images'):
        evaluate(make_runner(), k=201)


def test_refuses_data_without_labels(tmp_path):
    runner = make_runner()
    root = generated.image_folder(tmp_path)
    for split in ('train', 'test'):
        runner.cfg[f'{split}_dataloader'].dataset = dict(
            type='ImageFolder',
            data_root=str(root),
            data_prefix=f'{split}/a' if split == 'test' else 'train',
            pipeline=[],
        )
    with pytest.raises(ValueError, match='the test images have none'):
        evaluate(runner, k=2)


def test_a_test_does_without_the_training_data(tmp_path):
    """With a real runner: stand-ins do not say when a hook is called."""
    hook = dict(type='KNNHook', k=20, interval=1)
    trained = build_runner_of(tmp_path / 'a', TINY_CDC, custom_hooks=[hook])
    trained.train()
    assert 'kNN top-1 after epoch 1' in log_of(tmp_path / 'a')
    gone = dict(type='ImageFolder', data_root='gone', pipeline=[])
    tested = build_runner_of(
        tmp_path / 'b', TINY_CDC, dataset=dict(train=gone), custom_hooks=[hook],
        load_from=str(tmp_path / 'a' / 'epoch_1.pth'),
    )  # fmt: skip
    assert tested.test()['clustering/num_samples'] == 360


@pytest.mark.parametrize('name', ['interval', 'k', 'temperature'])
def test_refuses_bad_settings(name):
    with pytest.raises(ValueError, match=name):
        HOOKS.build(dict(type='KNNHook', **{name: 0}))


def _evaluate_labelled(rank, world_size, labelled):
    """Only some of the images, dealt out in turn, have a label."""
    runner = make_runner()
    hook = HOOKS.build(dict(type='KNNHook', k=20, interval=1))
    hook.before_train(runner)
    for loader, keep in zip(hook._loaders, labelled):
        info = loader.dataset.get_data_info
        loader.dataset.get_data_info = lambda i, info=info, keep=keep: {
            key: value for key, value in info(i).items() if key != 'gt_label' or keep(i)
        }
    hook.after_train_epoch(runner)
    return runner.scalars[-1][1]['knn/top1']


@pytest.mark.parametrize(
    'labelled',
    [(lambda i: i % 2, lambda i: True), (lambda i: True, lambda i: i % 2 == 0),
     (lambda i: i % 2, lambda i: i % 2), (lambda i: i % 2, lambda i: i % 2 == 0)],
)  # fmt: skip
def test_a_rank_without_labelled_images(labelled):
    accuracy = _evaluate_labelled(0, 1, labelled)
    assert 10 < accuracy < 100
    assert run_ranks(2, _evaluate_labelled, labelled) == [pytest.approx(accuracy)] * 2


def test_a_rank_without_images():
    assert run_ranks(2, _evaluate_one_image) == [100.0, 100.0]


def _evaluate_one_image(rank, world_size):
    runner = make_runner()
    runner.cfg.test_dataloader.dataset.indices = 1
    runner.cfg.test_dataloader.dataset.split = 'train'  # its own nearest
    return evaluate(runner, k=1)


def test_no_labelled_image_that_could_be_read_is_told():
    with pytest.raises(RunError, match='0 training images and 100 test images have a label'):
        _evaluate_labelled(0, 1, (lambda i: False, lambda i: True))
