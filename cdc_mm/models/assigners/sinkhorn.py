from typing import Optional

import torch
from torch import Tensor

from ..utils import as_float, gather_rows


@torch.no_grad()
def sinkhorn_knopp(
    scores: Tensor,
    epsilon: float = 0.05,
    iterations: int = 3,
    sizes: Optional[Tensor] = None,
) -> Tensor:
    """Assign a batch to clusters of equal size (the paper's equation 6), or of given sizes.

    Scales the rows and columns of ``exp(scores / epsilon)`` in turn until every cluster holds its
    mass (`Cuturi, 2013 <https://arxiv.org/abs/1306.0895>`_, algorithm 1); ends on the rows, so that
    each sample's assignment is a distribution. Works in the log domain in float32 (float64 stays
    float64), so nothing overflows whatever ``epsilon`` is.

    Under ``torch.distributed`` the batch is the union of all ranks' rows: the column sums run over
    all of them, and the result is what one process with the whole batch gets. Ranks may hold
    different numbers of rows, also none.

    Args:
        scores (Tensor): Shape (B, K), any floating dtype. Larger means more likely.
        epsilon (float): Entropy regularisation, > 0. The paper and SwAV use 0.05.
        iterations (int): Row-and-column rounds, at least 1. The paper and SwAV use 3.
        sizes (Tensor, optional): Sizes of the clusters relative to each other, shape (K,), above 0,
            the same on every rank. Defaults to equal ones. Values are not looked at, for which a
            GPU would have to be waited for.

    Returns:
        Tensor: Assignments, shape (B, K), float32 (float64 for float64 input), without gradient.
        Rows sum to 1; at convergence column k sums to its share of the global B, B / K
        where sizes are equal.

    Raises:
        ValueError: If ``scores`` is not (B, K), ``sizes`` is not (K,), or a value is out of
            range.
    """
    if scores.ndim != 2:
        raise ValueError(f'scores must have shape (B, K), got {tuple(scores.shape)}')
    if not epsilon > 0:
        raise ValueError(f'epsilon must be above 0, got {epsilon}')
    if iterations < 1:
        raise ValueError(f'iterations must be at least 1, got {iterations}')

    log_plan = as_float(scores) / epsilon
    if sizes is not None:
        if sizes.shape != scores.shape[1:]:
            raise ValueError(f'sizes must have shape (K,), got {tuple(sizes.shape)}')
        log_sizes = sizes.to(log_plan).log()
    for iteration in range(iterations):
        # Scaling the plan itself keeps its entries, and with them float32's errors, small; kept
        # apart, the two scalings would be differences of numbers as large as 1 / epsilon.
        columns = _sum_columns(log_plan)
        log_plan -= torch.logsumexp(gather_rows(columns), dim=0, keepdim=True)
        if sizes is not None:
            log_plan += log_sizes
        if iteration < iterations - 1:
            log_plan = torch.log_softmax(log_plan, dim=1)
    return torch.softmax(log_plan, dim=1)


def _sum_columns(log_plan: Tensor) -> Tensor:
    """``torch.logsumexp(log_plan, dim=0, keepdim=True)``, several times as fast on a CPU."""
    if not len(log_plan):  # on a rank without rows
        return torch.logsumexp(log_plan, dim=0, keepdim=True)
    # As it does, with a number in place of the largest of a column of -inf.
    largest = log_plan.amax(dim=0, keepdim=True).clamp_(min=torch.finfo(log_plan.dtype).min)
    return (log_plan - largest).exp_().sum(dim=0, keepdim=True).log_().add_(largest)
