import torch
from helpers import TINY_CDC, make_runner


def test_statistics_stay_and_weights_learn(tmp_path):
    runner = make_runner(
        tmp_path, TINY_CDC, epochs=2, custom_hooks=[dict(type='NormEvalHook')], val_cfg=None,
        val_dataloader=None, val_evaluator=None,
    )  # fmt: skip
    model = runner.model
    encoders = torch.nn.ModuleList([model.encoder, model.momentum_encoder.encoder])
    before = {name: value.clone() for name, value in encoders.state_dict().items()}
    runner.train()
    after = encoders.state_dict()
    statistics = [name for name in before if 'running_' in name or name.endswith('_tracked')]
    assert {name[0] for name in statistics} == {'0', '1'}
    for name in before:
        assert torch.equal(before[name], after[name]) == (name in statistics), name
