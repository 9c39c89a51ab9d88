import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn


class Standardize(nn.Module):
    """Rows of zero mean and unit variance in each channel, by all rows seen in training so far.

    Unlike a batch norm it does not depend on the batch: training and prediction treat a row alike,
    and N ranks see what one process sees. No gradient passes the statistics.

    Args:
        num_features (int): D, the width of the rows.
        eps (float): Added to the standard deviation. Defaults to 1e-6.
    """

    def __init__(self, num_features: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer('count', torch.zeros(()))
        self.register_buffer('mean', torch.zeros(num_features))
        self.register_buffer('variance', torch.ones(num_features))

    @torch.no_grad()
    def update(self, rows: Tensor) -> None:
        """Add rows (B, D) of every rank to the statistics."""
        rows = rows.to(self.mean)
        seen = torch.cat([rows.new_tensor([len(rows)]), rows.sum(0)])
        all_reduce(seen)
        count, mean = seen[0], seen[1:] / seen[0]
        # Around their own mean, where float32 is exact enough.
        squares = (rows - mean).square().sum(0)
        all_reduce(squares)
        difference = mean - self.mean
        # Two sets of rows joined: Chan, Golub & LeVeque (1979).
        self.count += count
        share = count / self.count
        self.variance.lerp_(squares / count, share).add_(share * (1 - share) * difference.square())
        self.mean.add_(share * difference)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows (B, D), standardised, shape (B, D)."""
        return (rows - self.mean) / (self.variance.clamp_min(0).sqrt() + self.eps)
