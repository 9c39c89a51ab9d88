from typing import Callable, List

import torch
import torch.distributed as dist
from mmengine.dist import all_gather, all_reduce, get_rank, get_world_size
from torch import Tensor


@torch.no_grad()
def gather_rows(x: Tensor) -> Tensor:
    """Concatenate ``x`` of all ranks in rank order, without gradient.

    Args:
        x (Tensor): Shape (N, ...), the same on every rank.

    Returns:
        Tensor: Shape (world size * N, ...); ``x`` itself when there is one process.
    """
    return x if get_world_size() == 1 else torch.cat(all_gather(x.contiguous()))


@torch.no_grad()
def shuffled_forward(module: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Run ``module`` on shuffled rows and put its output back in order ("shuffle BN").

    Batch norm over the same neighbours for query and key leaks which key is the positive one
    (MoCo, section 3.3). Rows are shuffled within each rank and dealt out evenly over the ranks by
    one all-to-all, which moves each image once; gathering would move it to every rank.

    Args:
        module (Callable): Maps (N, ...) to (N, ...) row by row.
        x (Tensor): This rank's rows, shape (B, ...), B the same on every rank.

    Returns:
        Tensor: ``module``'s output for ``x``, in the order of ``x``.
    """
    order = torch.randperm(len(x), device=x.device)
    if get_world_size() == 1:
        out = module(x[order])
    else:
        world_size, rank = get_world_size(), get_rank()
        each, rest = divmod(len(x), world_size)
        # Each rank deals its rest to those after itself, so that all get B rows in the end.
        sent = [each + ((to - rank) % world_size < rest) for to in range(world_size)]
        received = [each + ((rank - of) % world_size < rest) for of in range(world_size)]
        out = _exchange(module(_exchange(x[order], sent, received)), received, sent)
    return torch.empty_like(out).index_copy_(0, order, out)


def _exchange(x: Tensor, sent: List[int], received: List[int]) -> Tensor:
    """Send ``sent[r]`` rows of ``x`` to each rank r and receive ``received[r]`` from it."""
    out = x.new_empty((sum(received), *x.shape[1:]))
    dist.all_to_all_single(out, x.contiguous(), received, sent)
    return out


def gather_with_grad(x: Tensor) -> Tensor:
    """Concatenate ``x`` of all ranks in rank order, with the gradient of this rank's rows.

    It is the number of ranks times as large as usual: data parallel training takes the mean of the
    gradients over the ranks, so that each rank may compute the whole loss of the global batch.

    Args:
        x (Tensor): Shape (N, ...), the same on every rank.

    Returns:
        Tensor: Shape (world size * N, ...); ``x`` itself when there is one process.
    """
    ranks = get_world_size()
    if ranks == 1:
        return x
    parts = list(gather_rows(x).chunk(ranks))
    parts[get_rank()] = x + (ranks - 1) * (x - x.detach())
    return torch.cat(parts)


def mean_over_ranks(x: Tensor) -> Tensor:
    """The mean of ``x`` of all ranks, with the gradient of this rank's.

    Data parallel training takes the mean of the gradients over the ranks, so that a loss of this
    mean has its right gradient.
    """
    if get_world_size() == 1:
        return x
    mean = x.detach().clone()
    all_reduce(mean, 'mean')
    return x + (mean - x.detach())
