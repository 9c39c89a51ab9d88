import torch
from helpers import TINY_CDC, make_runner


def test_statistics_stay_and_weights_learn(tmp_path):
    runner = make_runner(
        tmp_path, TINY_CDC, epochs=2, custom_hooks=[dict(type='NormEvalHook')], val_cfg=None,
        val_dataloader=None, val_evaluator=None,
    )  # fmt: skip
    encoder = runner.model.encoder
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    runner.train()
    after = encoder.state_dict()
    statistics = [name for name in before if 'running_' in name or name.endswith('_tracked')]
    assert statistics
    for name in before:
        assert torch.equal(before[name], after[name]) == (name in statistics), name
