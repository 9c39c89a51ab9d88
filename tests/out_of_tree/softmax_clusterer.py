"""A clusterer that knows nothing of CDC, as a user would write it beside a config of their own."""

import torch
from mmpretrain.registry import MODELS
from torch import nn

from cdc_mm.models import BaseClusterer
from cdc_mm.models.encoders import build_encoder


@MODELS.register_module()
class SoftmaxClusterer(BaseClusterer):
    """One linear layer; two views agree on a cluster, and clusters are used evenly (as in SCAN)."""

    needs = ('view1', 'view2')
    embeddings = ('probabilities',)

    def __init__(self, num_clusters, feat_dim, backbone=None, evenness=5.0, **kwargs):
        encoder = None if backbone is None else build_encoder(backbone)
        super().__init__(num_clusters, encoder, **kwargs)
        self.layer = nn.Linear(feat_dim, num_clusters)
        self.evenness = evenness

    def scores(self, rows):
        return self.layer(rows)

    def embed(self, rows):
        return dict(probabilities=self.scores(rows).softmax(dim=1))

    def loss(self, batch):
        p, q = (self.scores(self.encode(batch[name])).softmax(dim=1) for name in self.needs)
        self.count_clusters(p.argmax(dim=1))
        entropy = torch.special.entr(p.mean(dim=0)).sum()
        return dict(loss_agree=-(p * q).sum(dim=1).log().mean(), loss_even=-self.evenness * entropy)
