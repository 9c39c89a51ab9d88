from typing import Tuple

import torch
from torch import Tensor

from ..utils import log_softmax

Pair = Tuple[Tensor, Tensor]


def temi_loss(student: Pair, teacher: Pair, prior: Tensor, beta: float) -> Tensor:
    """Weighted pointwise mutual information of neighbours (TEMI, equations 6 to 9).

    Of each head, over pairs of an image x and a neighbour x' the mean of

        - w(x, x') / 2 * (log sum_c (q_s(c|x) q_t(c|x'))^beta / q_t(c) + the same, x and x' swapped)

    with w(x, x') the mean over the heads of sum_c q_t(c|x) q_t(c|x'), which is small for pairs that
    the teachers hold to be of different clusters.

    `Exploring the Limits of Deep Image Clustering using Pretrained Models
    <https://arxiv.org/abs/2303.17896>`_.

    Args:
        student (tuple): Scores of the images and of their neighbours, whose softmax gives the
            probabilities q_s, each (H, B, K) of H heads.
        teacher (tuple): Of the teachers, likewise. No gradient passes.
        prior (Tensor): q_t(c), how likely each cluster is, (H, K), above 0.
        beta (float): In (0, 1]; less than 1 keeps clusters from being of very different sizes.

    Returns:
        Tensor: Shape (H,).
    """
    log_s = [log_softmax(scores) for scores in student]
    log_t = [log_softmax(scores.detach()) for scores in teacher]
    weight = (log_t[0] + log_t[1]).exp().sum(dim=-1).mean(dim=0)
    log_prior = prior.log()[:, None]
    # In the log domain, where the product of two sure predictions does not underflow.
    information = sum(
        torch.logsumexp(beta * (own + other) - log_prior, dim=-1)
        for own, other in zip(log_s, reversed(log_t))
    )
    return -(weight * information / 2).mean(dim=-1)
