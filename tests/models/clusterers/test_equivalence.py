"""One process with a batch and several ranks with its parts compute the same, to 1e-8."""

import pytest
import torch
from helpers import run_ranks
from mmengine.dist import all_gather
from mmengine.model import MMDistributedDataParallel
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

C = 6
# The last batch is smaller, as with drop_last=False.
BATCH_SIZES = (12, 12, 8)


def build(name, num_clusters):
    torch.manual_seed(0)
    neck = dict(type='NonLinearNeck', in_channels=16, hid_channels=16, with_avg_pool=True)
    cfg = dict(
        type=name,
        backbone=dict(type='SmallConvNet', channels=(8, 16), strides=(2, 2)),
        neck=dict(type='MoCoV2Neck', in_channels=16, hid_channels=16),
        head=dict(
            type='CDCHead',
            num_clusters=num_clusters,
            instance_dim=C,
            t=0.3,
        ),
        momentum=0.9,
    )
    if name == 'CDC':
        cfg.update(queue_size=32, symmetric=True)
    else:
        cfg.update(predictor=dict(neck, with_avg_pool=False, norm_cfg=dict(type='BN1d')))
        cfg['predictor'].pop('in_channels')
    threshold = 0.65 if num_clusters == 4 else 0.155 if name == 'CDC' else 0.14
    model = MODELS.build(
        dict(
            type='SelfLabel',
            clusterer=cfg,
            loss=dict(type='SelfLabelLoss', threshold=threshold),
            data_preprocessor=dict(type='SelfSupDataPreprocessor'),
        )
    )
    model.init_weights()
    for module in model.modules():  # batch statistics differ between ranks by design
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            module.eval()
            module.train = lambda mode=True: None
    model.prepare(sum(BATCH_SIZES))
    return model.double()


def batches():
    """Four views of each image; the model is surest of the first of a batch."""
    torch.manual_seed(1)
    for size in BATCH_SIZES:
        views = [torch.randn(size, 3, 16, 16, dtype=torch.float64) for _ in range(4)]
        for view in views:
            view[: size // 4] *= 0.05
        yield views


def train(rank, world_size, name, num_clusters):
    """All that some steps compute, on this rank's part of each batch."""
    model = build(name, num_clusters)
    assignments = []
    assigner = model.clusterer.head.assigner
    assign = assigner.assign
    assigner.assign = lambda *args: assignments.append(assign(*args)) or assignments[-1]
    trained = {k: p for k, p in model.named_parameters() if p.requires_grad}
    wrapped = MMDistributedDataParallel(model, broadcast_buffers=False) if world_size > 1 else model
    optimizer = torch.optim.SGD(trained.values(), lr=0.05)
    first, seen = 0, {}
    for step, views in enumerate(list(batches())):
        torch.manual_seed(rank)  # ranks may shuffle differently
        index = torch.arange(first, first + len(views[0])).chunk(world_size)[rank]
        first += len(views[0])
        samples = [DataSample(metainfo=dict(sample_idx=int(i))) for i in index]
        losses = wrapped([view.chunk(world_size)[rank] for view in views], samples, mode='loss')
        optimizer.zero_grad()
        sum(value for key, value in losses.items() if 'loss' in key).backward()
        for key, value in losses.items():
            mean = sum(all_gather(value.detach()[None])) / world_size
            seen[f'{step}.{key}'] = mean
        seen.update({f'{step}.grad.{k}': p.grad.clone() for k, p in trained.items()})
        parts = [torch.cat(all_gather(part)) for part in assignments]
        seen.update({f'{step}.assignments.{i}': part for i, part in enumerate(parts)})
        assignments.clear()
        optimizer.step()
        seen[f'{step}.queue'] = model.clusterer.queue.rows.clone()
        own = int((model.pseudo_labels.current[index] >= 0).sum())
        seen[f'{step}.confident'] = torch.stack(all_gather(torch.tensor(own)))
    seen.update({f'weight.{k}': p.detach() for k, p in model.state_dict().items()})
    seen['sizes'] = model.diagnostics()['cluster_sizes']
    summary = model.pseudo_labels.finish_epoch()
    seen['summary'] = torch.tensor([float(summary[k]) for k in sorted(summary)])
    seen['labels'] = model.pseudo_labels.previous.clone()
    return {key: value.numpy() for key, value in seen.items() if 'pseudo' not in key}


@pytest.mark.parametrize('num_clusters', [4, 20])  # 20 exceeds the batch
@pytest.mark.parametrize('name', ['CDC', 'CDCMoCoV3'])
def test_ranks_equal_one_process(name, num_clusters):
    one = train(0, 1, name, num_clusters)
    for world_size in (2, 4):
        confident = []
        for rank in run_ranks(world_size, train, name, num_clusters):
            assert rank.keys() == one.keys()
            for key, value in one.items():
                if key.endswith('.confident'):
                    confident.append(rank[key].tolist())
                    assert rank[key].sum() == value.sum()
                else:
                    torch.testing.assert_close(
                        torch.from_numpy(rank[key]),
                        torch.from_numpy(value),
                        rtol=0,
                        atol=1e-8,
                        msg=lambda text, name=f'{key} of {world_size} ranks': f'{name}: {text}',
                    )
        # Ranks differ in how many images they are confident of, and one has none at times.
        assert any(len(set(counts)) > 1 for counts in confident)
        if num_clusters == 4:
            assert any(0 in counts and any(counts) for counts in confident)
