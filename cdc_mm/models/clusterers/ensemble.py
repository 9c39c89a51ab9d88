from abc import abstractmethod

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from .base import BaseClusterer

_KEEP = 0.99


class EnsembleClusterer(BaseClusterer):
    """Several heads on the same rows, of which the best one predicts, or some of them together.

    The best is the one of least loss, a moving average over the training: no label chooses (SCAN,
    section 3.2). After :class:`ConsensusHook` the heads that it chose vote: their probabilities are
    averaged, each in the order of clusters that matches it to the others.

    A subclass writes :meth:`head_scores`, and in :meth:`loss` hands the losses to :meth:`track`.

    Args:
        num_clusters (int): K.
        num_heads (int): H, at least 1.
        **kwargs: See :class:`BaseClusterer`.

    Raises:
        ValueError: If ``num_heads`` is out of range.

    Attributes:
        losses (Tensor): Moving average of each head's total loss, a buffer (H,); 0 before the first
            step.
        votes (Tensor): 1 for each head that votes, else 0, a buffer (H,); all 0 before there is a
            consensus.
        orders (Tensor): The cluster of each head that is cluster k of all, a buffer (H, K).
    """

    def __init__(self, num_clusters: int, num_heads: int, *args, **kwargs) -> None:
        if num_heads < 1:
            raise ValueError(f'num_heads must be at least 1, got {num_heads}')
        super().__init__(num_clusters, *args, **kwargs)
        self.num_heads = num_heads
        self.register_buffer('losses', torch.zeros(num_heads))
        self.register_buffer('tracked', torch.tensor(False))
        self.register_buffer('votes', torch.zeros(num_heads))
        self.register_buffer('orders', torch.arange(num_clusters).repeat(num_heads, 1))

    @abstractmethod
    def head_scores(self, rows: Tensor) -> Tensor:
        """Scores of every head.

        Args:
            rows (Tensor): Shape (B, D).

        Returns:
            Tensor: Shape (H, B, K).
        """

    @property
    def best(self) -> int:
        """The number of the head of least loss; the first before training."""
        return int(self.losses.argmin())

    def voters(self, share: float) -> Tensor:
        """The numbers of the heads that may vote: a share of all, those of least loss."""
        return self.losses.argsort()[: max(1, round(share * self.num_heads))]

    def vote(self, heads: Tensor, orders: Tensor) -> None:
        """Let heads predict together.

        Args:
            heads (Tensor): Numbers of V heads.
            orders (Tensor): The cluster of each that is cluster k of all, shape (V, K).
        """
        self.votes.zero_()
        self.votes[heads] = 1
        self.orders[heads] = orders.to(self.orders)

    def voting(self, rows: Tensor) -> Tensor:
        """Probabilities by every head that votes, in the common order of clusters.

        Args:
            rows (Tensor): Shape (B, D).

        Returns:
            Tensor: Shape (V, B, K); of the best head alone before there is a consensus.
        """
        scores = self.head_scores(rows)
        heads = self.votes.nonzero().flatten()
        if len(heads) == 0:
            return scores[self.best, None].softmax(dim=2)
        orders = self.orders[heads][:, None].expand(-1, len(rows), -1)
        return scores[heads].softmax(dim=2).gather(2, orders)

    def head_labels(self, rows: Tensor) -> Tensor:
        """The clusters of rows (B, D) by every head, those that vote if some do, (B, heads)."""
        by_head = self.voting(rows) if self.votes.any() else self.head_scores(rows)
        return by_head.argmax(dim=2).T

    def scores(self, rows: Tensor) -> Tensor:
        """Scores of the best head, or the logarithm of the mean probability of those that vote.

        Args:
            rows (Tensor): Shape (B, D).

        Returns:
            Tensor: Shape (B, K).
        """
        if not self.votes.any():
            return self.head_scores(rows)[self.best]
        probabilities = self.voting(rows).mean(dim=0)
        return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()

    @torch.no_grad()
    def track(self, totals: Tensor) -> Tensor:
        """Add the total losses of a step, shape (H,), to the moving averages.

        Returns:
            Tensor: The least of them, a scalar.
        """
        totals = totals.detach().to(self.losses)
        all_reduce(totals, 'mean')  # every rank chooses alike
        average = torch.lerp(totals, self.losses, _KEEP)
        self.losses.copy_(torch.where(self.tracked, average, totals))
        self.tracked.fill_(True)
        return self.losses.min()
