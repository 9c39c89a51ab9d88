import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmpretrain.registry import MODELS, OPTIM_WRAPPERS

from cdc_mm.engine import CPUAmpOptimWrapper, use_amp


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
    mixed, dtypes = step(models[1], 'CPUAmpOptimWrapper')
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


def test_amp_is_cudas_where_there_is_cuda(monkeypatch):
    for available, expected in (
        (True, dict(type='AmpOptimWrapper', loss_scale=512.0, dtype='float16')),
        (False, dict(type='CPUAmpOptimWrapper')),
    ):
        monkeypatch.setattr(torch.cuda, 'is_available', lambda available=available: available)
        cfg = Config(dict(optim_wrapper=dict(loss_scale=512.0, dtype='float16')))
        use_amp(cfg)
        assert cfg.optim_wrapper == expected
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    cfg = Config(dict(optim_wrapper=dict()))
    use_amp(cfg)
    assert cfg.optim_wrapper == dict(type='AmpOptimWrapper', loss_scale='dynamic')
    assert OPTIM_WRAPPERS.get('CPUAmpOptimWrapper') is CPUAmpOptimWrapper
