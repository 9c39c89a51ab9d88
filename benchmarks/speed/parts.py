"""Parts of a training step: optimisers, momentum encoder, Sinkhorn, losses, layouts of networks."""

import copy
from typing import Callable, List

import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub
from mmpretrain.models.utils import CosineEMA
from mmpretrain.registry import MODELS, OPTIMIZERS
from torch import Tensor, nn

from cdc_mm.models.assigners import sinkhorn_knopp
from cdc_mm.models.layers import MomentumEncoder
from cdc_mm.models.losses import info_nce
from cdc_mm.models.utils import log_softmax

from .measuring import Row, Settings, alternate, counted, peak_memory, ratio
from .sides import compare_sides, side

POT_SIZE = 4096, 1000


def resnet(settings: Settings, depth: int = 50, norm: str = 'BN') -> nn.Module:
    """ResNet-50 for photographs or ResNet-18 for images of 32 pixels, tiny if it is to be quick."""
    narrow = settings.pick({}, dict(stem_channels=4, base_channels=4))
    name = 'ResNet' if depth == 50 else 'ResNet_CIFAR'
    model = MODELS.build(dict(type=name, depth=depth, norm_cfg=dict(type=norm), **narrow))
    model.train()
    return model.to(settings.device)


def momentum_encoder(settings: Settings) -> List[Row]:
    source = nn.ModuleDict(dict(encoder=resnet(settings)))
    source.encoder = source['encoder']
    ours = MomentumEncoder(dict(encoder=source.encoder))
    hub = MessageHub.get_current_instance()
    hub.update_info('max_iters', 1000)
    theirs = CosineEMA(source.encoder, momentum=0.01)
    functions = dict(
        ours=lambda: ours.update(source, 0.99),
        theirs=lambda: theirs.update_parameters(source.encoder),
    )
    seconds = alternate(functions, settings.pick(10, 1), settings.device)
    return [
        Row(
            'momentum encoder, ResNet-50',
            'MomentumEncoder',
            "MMPretrain's CosineEMA",
            ratio(seconds['ours'], seconds['theirs']),
            note=f'{counted(functions["ours"])}; reference {counted(functions["theirs"])}',
        )
    ]


def optimizers(settings: Settings) -> List[Row]:
    rows = []
    pairs = (
        ('LARS', "MMPretrain's LARS", dict(type='ForeachLARS'), dict(type='LARS')),
        ('SGD', 'SGD as it is', dict(type='SGD', fused=True), dict(type='SGD')),
        ('AdamW', 'AdamW as it is', dict(type='AdamW', fused=True), dict(type='AdamW')),
    )
    for name, reference, *kinds in pairs:
        functions = {}
        for number, kind in enumerate(kinds):
            network = resnet(settings)
            groups = [dict(params=[p], lars_exclude=p.ndim == 1) for p in network.parameters()]
            params = groups if name == 'LARS' else network.parameters()
            momentum = {} if name == 'AdamW' else dict(momentum=0.9)
            built = OPTIMIZERS.build(
                dict(kind, params=params, lr=1e-3, weight_decay=1e-4, **momentum)
            )
            for p in network.parameters():
                p.grad = torch.randn_like(p)
            functions[number] = built.step
        seconds = alternate(functions, settings.pick(10, 1), settings.device)
        rows.append(
            Row(
                f'{name}, ResNet-50',
                'ForeachLARS' if name == 'LARS' else 'fused=True',
                reference,
                ratio(seconds[0], seconds[1]),
                note=f'{counted(functions[0])}; reference {counted(functions[1])}',
            )
        )
    return rows


def swav_sinkhorn(scores: Tensor, epsilon: float = 0.05, iterations: int = 3) -> Tensor:
    """As SwAV writes it, on one process."""
    plan = torch.exp(scores / epsilon).t()
    plan /= plan.sum()
    clusters, images = plan.shape
    for _ in range(iterations):
        plan /= plan.sum(dim=1, keepdim=True)
        plan /= clusters
        plan /= plan.sum(dim=0, keepdim=True)
        plan /= images
    return (plan * images).t()


def sinkhorn(settings: Settings) -> List[Row]:
    sizes = settings.pick([(4096, 1000), (4096, 10), (512, 10), (64, 10)], [(64, 10)])
    if settings.device != 'cpu' and not settings.quick:
        sizes.append((65_536, 21_000))
    rows = []
    for count, clusters in sizes:
        scores = some_scores(count, clusters, settings)
        functions = dict(
            ours=lambda scores=scores: sinkhorn_knopp(scores),
            theirs=lambda scores=scores: swav_sinkhorn(scores),
        )
        rounds = settings.pick(max(5, 2**20 // scores.numel()), 1)  # the small ones last 0.1 ms
        seconds = alternate(functions, rounds, settings.device)
        name = f'Sinkhorn, {count:,} x {clusters:,}'
        size = scores.numel() * scores.element_size()
        memory = peak_memory(functions['ours'], settings.device) / size
        speed = ratio(seconds['ours'], seconds['theirs'])
        rows += [
            Row(name, 'sinkhorn_knopp', "SwAV's form", speed, 1.0),
            Row(f'{name}: memory', 'sinkhorn_knopp', 'the scores', memory, 3.0),
        ]
    count, clusters = settings.pick(POT_SIZE, (64, 10))
    return rows + compare_sides(
        f'Sinkhorn, {count:,} x {clusters:,}',
        ('sinkhorn_knopp', "POT's sinkhorn_log, 3 rounds"),
        (side('sinkhorn_knopp', settings), side('pot', settings)),
        'ot',
        settings,
        rounds=9,
        limit=0.10,
    )


def some_scores(count: int, clusters: int, settings: Settings) -> Tensor:
    return F.normalize(torch.randn(count, clusters, device=settings.device), dim=1)


def our_sinkhorn(settings: Settings) -> Callable:
    scores = some_scores(*settings.pick(POT_SIZE, (64, 10)), settings)
    return lambda: sinkhorn_knopp(scores)


def pot_sinkhorn(settings: Settings) -> Callable:
    import ot

    scores = some_scores(*settings.pick(POT_SIZE, (64, 10)), settings)
    weights = [torch.full((n,), 1 / n, device=settings.device) for n in scores.shape]
    return lambda: ot.bregman.sinkhorn_log(
        *weights, -scores, 0.05, numItermax=3, stopThr=0, warn=False
    )


def losses(settings: Settings) -> List[Row]:
    batch, queue, width = settings.pick((512, 4096, 138), (16, 64, 12))
    query, key, negatives = (
        F.normalize(torch.randn(count, width, device=settings.device), dim=1)
        for count in (batch, batch, queue)
    )
    query.requires_grad_()

    def by_autograd() -> None:
        held = negatives.clone()  # as enqueueing would change what backward needs
        logits = torch.cat([(query * key).sum(1, keepdim=True), query @ held.T], dim=1) / 0.15
        F.cross_entropy(
            logits, torch.zeros(batch, dtype=torch.long, device=query.device)
        ).backward()

    functions = dict(
        ours=lambda: info_nce(query, key, negatives, 0.15).backward(), theirs=by_autograd
    )
    seconds = alternate(functions, settings.pick(10, 1), settings.device)
    peaks = [peak_memory(functions[name], settings.device) for name in ('ours', 'theirs')]
    name = f'InfoNCE, {batch} x {queue:,}'
    reference = 'cross-entropy by autograd, as in MoCo'
    return [
        Row(name, 'info_nce', reference, ratio(seconds['ours'], seconds['theirs'])),
        Row(f'{name}: memory', 'info_nce', reference, peaks[0] / peaks[1]),
        softmax_of_heads(settings),
    ]


def softmax_of_heads(settings: Settings) -> Row:
    """Forward and backward of the softmax of the heads that cluster a folder."""
    heads, batch, clusters = settings.pick((64, 1000, 10), (2, 16, 10))
    scores = torch.randn(batch, heads, clusters, device=settings.device).transpose(0, 1)
    scores.requires_grad_()
    functions = dict(
        ours=lambda: log_softmax(scores).sum().backward(),
        theirs=lambda: scores.log_softmax(dim=-1).sum().backward(),
    )
    seconds = alternate(functions, settings.pick(20, 1), settings.device)
    return Row(
        f'softmax of {heads} heads, {batch:,} x {clusters}',
        'log_softmax',
        "torch's",
        ratio(seconds['ours'], seconds['theirs']),
    )


def networks(settings: Settings) -> List[Row]:
    """Forward and backward of ResNet-18 at 32 pixels in other layouts and precisions."""
    batch = settings.pick(16, 8)
    images = torch.randn(batch, 3, 32, 32, device=settings.device)
    base = resnet(settings, 18, 'SplitBN')
    last = copy.deepcopy(base).to(memory_format=torch.channels_last)
    plain = resnet(settings, 18, 'BN')

    def step(network: nn.Module, mixed: bool = False):
        def run() -> None:
            network.zero_grad()
            with torch.autocast(settings.device, torch.bfloat16, enabled=mixed):
                out = network(images)[0].float().square().mean()
            out.backward()

        return run

    functions = {
        'SplitBN': step(base),
        'BN': step(plain),
        'channels_last': step(last),
        'bfloat16': step(base, True),
        'channels_last, bfloat16': step(last, True),
    }
    seconds = alternate(functions, settings.pick(4, 1), settings.device)
    what = f'ResNet-18 at 32 pixels, batch {batch}, forward and backward'
    pairs = (
        ('SplitBN', 'BN'),
        ('channels_last', 'SplitBN'),
        ('bfloat16', 'SplitBN'),
        ('channels_last, bfloat16', 'bfloat16'),
    )
    return [Row(what, name, other, ratio(seconds[name], seconds[other])) for name, other in pairs]


def one_pass(settings: Settings) -> List[Row]:
    """Two views through a network at rest, one after the other or as one batch."""
    batch = settings.pick(32, 8)
    network = resnet(settings, 18)
    network.eval()
    views = [torch.randn(batch, 3, 32, 32, device=settings.device) for _ in range(2)]
    with torch.no_grad():
        seconds = alternate(
            dict(
                one=lambda: network(torch.cat(views))[0].chunk(2),
                two=lambda: [network(view)[0] for view in views],
            ),
            settings.pick(4, 1),
            settings.device,
        )
    return [
        Row(
            'two views through a network at rest',
            'as one batch',
            'one after the other',
            ratio(seconds['one'], seconds['two']),
        )
    ]
