"""Clusters of points by Student's t-distribution around centres (DEC, section 3.1)."""

import torch
from torch import Tensor


def student_t_scores(points: Tensor, centers: Tensor) -> Tensor:
    """Scores whose softmax is q, equation 1 of DEC with one degree of freedom.

    q_ij = (1 + |z_i - m_j|^2)^-1 / sum_k (1 + |z_i - m_k|^2)^-1

    Args:
        points (Tensor): z, shape (N, D).
        centers (Tensor): m, shape (K, D).

    Returns:
        Tensor: -log(1 + |z_i - m_j|^2), shape (N, K).
    """
    # By differences: the expanded square is not exact near a centre.
    squares = (points[:, None] - centers).square().sum(dim=2)
    return -torch.log1p(squares)


def target_distribution(q: Tensor) -> Tensor:
    """Sharpened probabilities with large clusters held back, equation 3 of DEC.

    p_ij = (q_ij^2 / f_j) / sum_k (q_ik^2 / f_k), with f_j = sum_i q_ij over all images.

    Args:
        q (Tensor): Probabilities of all images, shape (N, K).

    Returns:
        Tensor: Shape (N, K), rows sum to 1.
    """
    weight = q.square() / q.sum(dim=0).clamp_min(torch.finfo(q.dtype).tiny)
    return weight / weight.sum(dim=1, keepdim=True)
