import math
from types import SimpleNamespace

import pytest
import torch
from helpers import run_ranks
from mmpretrain.registry import HOOKS, MODELS

from cdc_mm.errors import RunError

K, C = 4, 6


class Runner(SimpleNamespace):
    """As far as the hook goes: an epoch has ten iterations."""

    def __init__(self, work_dir, model=None):
        super().__init__(
            model=model or build(),
            iter=0,
            work_dir=str(work_dir),
            train_dataloader=range(10),
            warnings=[],
        )
        self.logger = SimpleNamespace(warning=self.warnings.append)


def build():
    model = MODELS.build(
        dict(
            type='CDC',
            backbone=dict(type='SmallConvNet', channels=(8,), strides=(2,)),
            neck=dict(type='MoCoV2Neck', in_channels=8, hid_channels=16),
            head=dict(type='CDCHead', num_clusters=K, instance_dim=C),
            queue_size=32,
            data_preprocessor=dict(type='SelfSupDataPreprocessor'),
        )
    )
    model.init_weights()
    return model


def healthy(**kwargs):
    """Outputs of a step, with what is to differ."""
    values = dict(loss=9.0, loss_cluster=5.0, assign_entropy=0.5, zn_std=0.9)
    return {name: torch.tensor(value) for name, value in {**values, **kwargs}.items()}


def watch(runner, steps, outputs=None, sizes=(30, 30, 30, 30), **kwargs):
    """Let the hook look at some steps of the same kind."""
    hook = HOOKS.build(dict(type='CollapseWatchHook', **{'interval': 1, 'patience': 2, **kwargs}))
    for _ in range(steps):
        runner.model.head.cluster_sizes += torch.tensor(sizes)
        hook.after_train_iter(runner, runner.iter, outputs=outputs or healthy())
        runner.iter += 1
    return hook


SIGNS = [
    ('one cluster holds 75 %', 'model.head.alpha', dict(sizes=(90, 10, 10, 10))),
    ('2 of 4 clusters hold no image', 'num_clusters', dict(sizes=(60, 60, 0, 0))),
    ('prefer no cluster', 'epsilon', dict(outputs=healthy(assign_entropy=0.99))),
    (
        'loss_cluster is 6.93, that of a uniform',
        'model.head.t ',
        dict(outputs=healthy(loss_cluster=5 * math.log(K))),
    ),
    (
        'nearly the same for all images (zn_std 0.100)',
        'model.momentum',
        dict(outputs=healthy(zn_std=0.1)),
    ),
]


@pytest.mark.parametrize(('sign', 'knob', 'kwargs'), SIGNS)
def test_each_sign_is_told_once_when_it_lasts(tmp_path, sign, knob, kwargs):
    runner = Runner(tmp_path)
    watch(runner, 20, **kwargs)
    assert not runner.warnings
    runner = Runner(tmp_path)
    watch(runner, 40, **kwargs)
    (text,) = runner.warnings
    assert sign in text and knob in text and 'since iteration 1:' in text


@pytest.mark.parametrize('name', ['loss', 'loss_cluster'])
@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_told_at_once(tmp_path, name, value):
    runner = Runner(tmp_path)
    watch(runner, 1, healthy(**{name: value}))
    assert 'NaN or infinite' in runner.warnings[0] and 'clip_grad' in runner.warnings[0]


def test_a_gradient_that_is_not_finite_is_told_through_the_weights(tmp_path):
    runner = Runner(tmp_path)
    parameter = next(runner.model.neck.parameters())
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    parameter.grad = torch.zeros_like(parameter)
    parameter.grad.view(-1)[3] = math.inf
    optimizer.step()
    watch(runner, 1)
    assert 'the weights are NaN or infinite' in runner.warnings[0]


def test_silent_when_healthy_or_soon_again(tmp_path):
    runner = Runner(tmp_path)
    hook = watch(runner, 30)
    for i in range(60):  # bad, but never for two epochs
        hook.after_train_iter(runner, i, outputs=healthy(zn_std=0.1 if i % 15 else 0.9))
        runner.iter += 1
    assert not runner.warnings


def test_a_constant_network_shows_every_sign_but_nan(tmp_path):
    """What the real model puts out when it has collapsed."""
    model = build()
    with torch.no_grad():
        for parameter in (*model.neck.parameters(), *model.momentum_encoder.parameters()):
            parameter.zero_()
        model.neck.mlp[-1].bias.fill_(1.0)
        model.momentum_encoder.neck.mlp[-1].bias.fill_(1.0)
    runner = Runner(tmp_path, model)
    hook = HOOKS.build(dict(type='CollapseWatchHook', interval=1, patience=0))
    for i in range(6):
        losses = model([torch.randn(8, 3, 8, 8) for _ in range(2)], mode='loss')
        _, outputs = model.parse_losses(losses)
        hook.after_train_iter(runner, i, outputs=outputs)
    text = ' '.join(runner.warnings)
    for sign in ('prefer no cluster', 'that of a uniform prediction', 'nearly the same'):
        assert sign in text
    # Too few images so far to miss any cluster.
    assert 'hold' not in text
    for i in range(6):
        model([torch.randn(8, 3, 8, 8) for _ in range(2)], mode='loss')
        hook.after_train_iter(runner, i, outputs=outputs)
    text = ' '.join(runner.warnings)
    assert 'one cluster holds 100 %' in text and '3 of 4 clusters hold no image' in text


def test_stop_names_the_checkpoint_from_before(tmp_path):
    runner = Runner(tmp_path)

    def save(content):
        path = tmp_path / f'{content}.pth'
        path.write_text(content)
        (tmp_path / 'last_checkpoint').write_text(str(path))
        return path

    save('good')
    hook = watch(runner, 3, on_collapse='stop', patience=1)
    bad = healthy(zn_std=0.0)
    for i in range(10):
        hook.after_train_iter(runner, i, outputs=bad)
        runner.iter += 1
        save(f'bad{i}')
    (tmp_path / 'good.pth').unlink()  # what max_keep_ckpts does
    with pytest.raises(RunError, match=r'the features are .*healthy\.pth is the last'):
        hook.after_train_iter(runner, 11, outputs=bad)
    assert (tmp_path / 'healthy.pth').read_text() == 'good'


def test_recovery_forgets(tmp_path):
    runner = Runner(tmp_path)
    (tmp_path / 'x.pth').touch()
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'x.pth'))
    hook = watch(runner, 25, healthy(zn_std=0.0))
    assert len(runner.warnings) == 1 and (tmp_path / 'healthy.pth').is_file()
    hook.after_train_iter(runner, 0, outputs=healthy())
    assert not (tmp_path / 'healthy.pth').exists()
    for _ in range(25):
        runner.iter += 1
        hook.after_train_iter(runner, 0, outputs=healthy(zn_std=0.0))
    assert len(runner.warnings) == 2


def test_nan_does_not_replace_a_checkpoint(tmp_path):
    runner = Runner(tmp_path)
    hook = watch(runner, 1, on_collapse='stop')
    state = dict(weight=torch.ones(3), count=torch.tensor(1))
    hook.before_save_checkpoint(runner, dict(state_dict=state))
    state['weight'][1] = math.nan
    with pytest.raises(RunError, match=r'hold NaN or infinity.*no checkpoint from before'):
        hook.before_save_checkpoint(runner, dict(state_dict=state))


def test_other_models_are_watched_for_nan_only(tmp_path):
    runner = Runner(tmp_path, torch.nn.Linear(2, 2))
    hook = HOOKS.build(dict(type='CollapseWatchHook', interval=1, patience=0))
    hook.after_train_iter(runner, 0, outputs=dict(loss=torch.tensor(1.0)))
    assert not runner.warnings
    hook.after_train_iter(runner, 0, outputs=dict(loss=torch.tensor(math.nan)))
    assert len(runner.warnings) == 1


def _one_rank_is_bad(rank, world_size, work_dir):
    runner = Runner(work_dir)
    watch(runner, 1, healthy(loss=math.nan if rank else 1.0))
    return len(runner.warnings)


def test_ranks_judge_alike(tmp_path):
    assert run_ranks(2, _one_rank_is_bad, tmp_path) == [1, 1]


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(interval=0), 'interval must be at least 1'),
        (dict(patience=-1), 'patience must not be negative'),
        (dict(on_collapse='no'), "on_collapse must be 'warn' or 'stop', got 'no'"),
    ],
)
def test_refuses_bad_settings(kwargs, message):
    with pytest.raises(ValueError, match=message):
        HOOKS.build(dict(type='CollapseWatchHook', **kwargs))
