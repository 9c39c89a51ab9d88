from typing import Optional

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from ..utils import full_precision

# Rounds on one kernel: each may pull the scalings of its columns apart by B K at most, and four
# keep them within what float32 can hold.
_ROUNDS = 4
# Up to so many columns sums and maxima are faster where those of a column lie side by side.
_FEW = 64


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
    each sample's assignment is a distribution. Works in float32 (float64 stays float64).

    The scalings are two vectors, so that a round is two products of a matrix with a vector. Nothing
    over- or underflows whatever ``epsilon`` is: the kernel has the largest score of each column
    taken off, then that of each row, which leaves a large entry in every row and every column; and
    after some rounds the scalings are taken into the exponents (`Schmitzer, 2019
    <https://arxiv.org/abs/1610.06519>`_, section 3).

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
    if sizes is not None and sizes.shape != scores.shape[1:]:
        raise ValueError(f'sizes must have shape (K,), got {tuple(sizes.shape)}')
    return _scale(scores, epsilon, iterations, sizes)


@full_precision  # as autocast would round the products
def _scale(scores: Tensor, epsilon: float, iterations: int, sizes: Optional[Tensor]) -> Tensor:
    if sizes is not None:
        sizes = sizes.to(scores)
        sizes = sizes / sizes.max()
    if scores.shape[1] <= _FEW:
        scores = scores.T.contiguous().T
    log_kernel = (scores - _largest_of_columns(scores)).div_(epsilon)
    largest = log_kernel.amax(dim=1)
    log_kernel -= largest.unsqueeze(1)
    again = iterations > _ROUNDS  # the exponents are needed once more
    kernel = log_kernel.exp() if again else log_kernel.exp_()
    # Gives back what was taken off the rows: the first sums are those of the columns.
    rows = largest.exp_()
    columns = None
    for iteration in range(iterations):
        if iteration and iteration % _ROUNDS == 0:
            del kernel
            log_kernel += columns.log()
            # Small numbers have small errors.
            log_kernel -= log_kernel.amax(dim=1, keepdim=True)
            kernel = log_kernel.exp()
            rows = kernel.sum(dim=1).reciprocal_()
        sums = torch.mv(kernel.T, rows)
        all_reduce(sums)
        columns = sums.reciprocal_() if sizes is None else sizes / sums
        rows = torch.mv(kernel, columns).reciprocal_()
    return kernel.mul_(columns).mul_(rows.unsqueeze(1))


def _largest_of_columns(scores: Tensor) -> Tensor:
    # A rank without rows has none.
    largest = scores.amax(dim=0) if len(scores) else scores.new_full(scores.shape[1:], -torch.inf)
    all_reduce(largest, 'max')
    return largest
