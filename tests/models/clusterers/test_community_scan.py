import numpy as np
import pytest
import torch
from mmpretrain.registry import MODELS
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from cdc_mm.models.utils import neighbor_communities


def build(num_clusters=3, **kwargs):
    torch.manual_seed(0)
    settings = dict(num_heads=4, num_community_heads=2, num_components=5, in_channels=6)
    return MODELS.build(dict(type='CommunitySCAN', num_clusters=num_clusters, **settings, **kwargs))


@pytest.fixture
def rows():
    centers = np.repeat(4 * np.eye(3, 6), (60, 20, 10), axis=0)
    return (centers + np.random.RandomState(0).randn(90, 6)).astype(np.float32)


@pytest.mark.parametrize('num_clusters', [2, 3])
def test_further_heads_are_discriminant_analyses_of_communities(rows, num_clusters):
    model = build(num_clusters)
    torch.manual_seed(3)
    model.fit_rows(rows)
    torch.manual_seed(3)
    seed = int(torch.randint(2**31 - 1, ()))
    points = model.standardize(torch.tensor(rows))
    neighbors = min(20, 90 // (2 * num_clusters))
    partitions = neighbor_communities(points.numpy(), num_clusters, 2, neighbors, seed)
    scores = model.head_scores(torch.tensor(rows)).softmax(dim=2).detach().numpy()
    assert scores.shape == (6, 90, num_clusters)
    for found, labels in zip(scores[4:], partitions, strict=True):
        method = LinearDiscriminantAnalysis(solver='lsqr', shrinkage=0.1).fit(points, labels)
        np.testing.assert_allclose(found, method.predict_proba(points), atol=1e-4)
        assert (found.argmax(axis=1) == labels).mean() > 0.9


def test_training_moves_the_others_alone(rows):
    model = build()
    model.fit_rows(rows)
    before = model.head.weight.detach().clone()
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    images = torch.tensor(rows)
    for _ in range(3):
        losses = model(dict(view1=images, neighbor=images.flip(0)), mode='loss')
        optimizer.zero_grad()
        (losses['loss_neighbor'] + losses['loss_entropy']).backward()
        optimizer.step()
    moved = (model.head.weight != before).view(6, -1).any(dim=1)
    assert moved.tolist() == [True] * 4 + [False] * 2
    assert model.best < 4
    assert (model.losses[4:] >= model.losses[:4].max() - 1e-6).all()


def test_half_of_the_trained_heads_vote_and_all_of_communities():
    model = build()
    model.losses.copy_(torch.tensor([3.0, 1.0, 4.0, 2.0, 9.0, 9.0]))
    assert model.voters(0.5).tolist() == [1, 3, 4, 5]
    assert model.voters(0.01).tolist() == [1, 4, 5]


@pytest.mark.parametrize('name', ['num_community_heads', 'num_neighbors', 'num_components'])
def test_values_out_of_range_are_refused(name):
    settings = dict(type='CommunitySCAN', num_clusters=3, in_channels=6, num_components=5)
    with pytest.raises(ValueError, match=f'{name} must be at least 1, got 0'):
        MODELS.build({**settings, name: 0})
