import pytest
import torch
from helpers import TINY_CDC, make_runner
from mmpretrain.registry import HOOKS

from cdc_mm.checkpoints import read_state_dict

MODEL = dict(type='SelfLabel', clusterer=TINY_CDC, loss=dict(type='SelfLabelLoss', threshold=0.15))
VIEWS = ('view1', 'view2', 'weak', 'strong')


def build(**kwargs):
    return HOOKS.build(dict(type='SelfLabelHook', **kwargs))


def runner(tmp_path, views=VIEWS, model=MODEL, hook=(), **kwargs):
    return make_runner(
        tmp_path, model, views, custom_hooks=[dict(type='SelfLabelHook', **dict(hook))], **kwargs
    )


def logged(runner, name):
    scalars = runner.message_hub.log_scalars
    return list(scalars[f'train/{name}'].data[0]) if f'train/{name}' in scalars else []


def test_weight_by_epoch():
    hook = build(weight=2.0, start=3, ramp=3)
    assert [hook.weight_at(e) for e in range(8)] == [0, 0, 0, 0.5, 1.0, 1.5, 2.0, 2.0]
    assert build().weight_at(0) == 1.0


def test_finetuning_is_the_only_term(tmp_path):
    run = runner(tmp_path, ('weak', 'strong'), hook=dict(finetune=True))
    run.train()
    assert logged(run, 'loss_selflabel') and not logged(run, 'loss_infonce')
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert 'of the images are confident' in log and 'clusters have no confident' in log
    labels = read_state_dict(tmp_path / 'epoch_1.pth')['pseudo_labels.previous']
    assert len(labels) == 1437 and labels.max() >= 0


def test_added_to_a_running_training_it_comes_in_later(tmp_path):
    run = runner(tmp_path, hook=dict(start=1, ramp=1), epochs=3)
    run.train()
    steps = len(run.train_dataloader)
    assert len(logged(run, 'loss_infonce')) == 3 * steps
    assert len(logged(run, 'loss_selflabel')) == 2 * steps
    assert run.model.weight == 1.0


def test_a_resumed_training_keeps_its_labels(tmp_path):
    whole = runner(tmp_path / 'whole', hook=dict(finetune=True), views=VIEWS[2:], epochs=2)
    whole.train()
    runner(tmp_path / 'two', hook=dict(finetune=True), views=VIEWS[2:]).train()
    again = runner(
        tmp_path / 'two', hook=dict(finetune=True), views=VIEWS[2:], epochs=2, resume=True
    )
    again.train()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name


def test_testing_needs_no_training_data(tmp_path):
    runner(tmp_path, hook=dict(finetune=True), views=VIEWS[2:]).train()
    test = runner(
        tmp_path,
        hook=dict(finetune=True),
        load_from=str(tmp_path / 'epoch_1.pth'),
        **{'train_dataloader.dataset': dict(type='ImageFolder', data_root='gone')},
    )
    assert test.test()['clustering/num_samples'] == 360


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(weight=0.0), 'weight'),
        (dict(start=-1), 'start and ramp'),
        (dict(finetune=True, ramp=2), 'leave out start and ramp'),
    ],
)
def test_refuses_what_cannot_be(kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(**kwargs)


def test_says_how_to_wrap_another_model(tmp_path):
    with pytest.raises(ValueError, match=r"a CDC: wrap it, model=dict\(type='SelfLabel'"):
        runner(tmp_path, model=TINY_CDC).train()
