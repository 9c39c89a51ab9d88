import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmpretrain.registry import MODELS, OPTIM_WRAPPERS

from cdc_mm.engine import BFloat16OptimWrapper, use_amp


def build():
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='CDC',
            backbone=dict(type='SmallConvNet', in_channels=1, channels=(8, 8, 8, 16)),
            neck=dict(type='MoCoV2Neck', in_channels=16, hid_channels=32),
            head=dict(type='CDCHead', num_clusters=5, instance_dim=8, tau=0.15, t=0.2, alpha=5.0),
            queue_size=64,
            momentum=0.99,
            symmetric=True,
        )
    )
    model.init_weights()
    return model.train()


def step(model, wrapper_type):
    """One step: the losses, and what the head was given."""
    wrapper = build_optim_wrapper(
        model, dict(type=wrapper_type, optimizer=dict(type='SGD', lr=0.1))
    )
    given = []
    normalize = model.head.normalize
    model.head.normalize = lambda z: given.append(z.dtype) or normalize(z)
    views = [torch.randn(32, 1, 16, 16) for _ in range(2)]
    with wrapper.optim_context(model):
        losses = model(views, mode='loss')
        total, _ = model.parse_losses(losses)
    wrapper.update_params(total)
    return losses, set(given)


def test_losses_are_float32_and_nearly_those_without():
    models = [build() for _ in range(2)]
    torch.manual_seed(1)
    plain, dtypes = step(models[0], 'OptimWrapper')
    assert dtypes == {torch.float32}
    torch.manual_seed(1)
    mixed, dtypes = step(models[1], 'BFloat16OptimWrapper')
    assert dtypes == {torch.bfloat16}  # else nothing was tested
    for name, value in plain.items():
        if not torch.is_tensor(value):
            continue
        assert mixed[name].dtype == torch.float32 and mixed[name].isfinite()
        assert mixed[name].item() == pytest.approx(value.item(), rel=0.03, abs=0.02), name
    # The steps go the same way, and the weights stay in float32.
    for (name, before), a, b in zip(
        build().named_parameters(), models[0].parameters(), models[1].parameters(), strict=True
    ):
        assert b.dtype == torch.float32
        moves = (a - before).flatten(), (b - before).flatten()
        if moves[0].norm() > 1e-3:
            assert torch.cosine_similarity(*moves, dim=0) > 0.9, name


def test_sinkhorn_is_given_float32_and_checkpoints_keep_their_names(monkeypatch):
    model, given = build(), []
    assign = model.head.assigner.assign
    monkeypatch.setattr(
        model.head.assigner, 'assign', lambda zc, past: given.append((zc, past)) or assign(zc, past)
    )
    step(model, 'BFloat16OptimWrapper')
    assert len(given) == 2
    assert {x.dtype for pair in given for x in pair} == {torch.float32}
    expected = build().state_dict()
    assert {name: x.dtype for name, x in model.state_dict().items()} == {
        name: x.dtype for name, x in expected.items()
    }


def test_amp_is_bfloat16_where_the_config_does_not_ask_for_more(monkeypatch):
    own = dict(loss_scale=512.0, dtype='float16')
    for cuda, bf16, given, expected in (
        (True, True, own, dict(type='AmpOptimWrapper', **own)),
        (True, True, {}, dict(type='BFloat16OptimWrapper')),
        (True, False, {}, dict(type='AmpOptimWrapper', loss_scale='dynamic')),
        (False, False, own, dict(type='BFloat16OptimWrapper')),
    ):
        monkeypatch.setattr(torch.cuda, 'is_available', lambda cuda=cuda: cuda)
        monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda bf16=bf16, **_: bf16)
        cfg = Config(dict(optim_wrapper=dict(given)))
        use_amp(cfg)
        assert cfg.optim_wrapper == expected
    for name in ('BFloat16OptimWrapper', 'CPUAmpOptimWrapper'):
        assert OPTIM_WRAPPERS.get(name) is BFloat16OptimWrapper


@pytest.mark.parametrize('flag', [None, 'avx512_bf16', 'amx_bf16', 'bf16'])
def test_a_cpu_without_bfloat16_is_told_and_trains(flag, monkeypatch):
    monkeypatch.setattr(
        torch.cpu, 'get_capabilities', lambda: {'avx2': True, flag: True}, raising=False
    )
    told = []
    monkeypatch.setattr(MMLogger, 'warning', lambda self, text: told.append(text))
    losses, _ = step(build(), 'BFloat16OptimWrapper')
    assert losses['loss_infonce'].isfinite()
    assert [text.startswith('This CPU has no') for text in told] == ([True] if not flag else [])
