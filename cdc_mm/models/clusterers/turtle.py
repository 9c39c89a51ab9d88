from typing import Dict, Optional, Tuple, Union

import torch
from mmengine.dist import all_reduce, broadcast
from mmpretrain.registry import MODELS
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from ..layers import Standardize
from ..utils import as_float, full_precision, mean_over_ranks
from .base import BaseClusterer, build_backbone, width_of_rows


@MODELS.register_module()
class TURTLE(BaseClusterer):
    """The labelling that linear classifiers learn best, on the rows of a frozen network.

    A linear layer with weight normalisation, the task encoder, labels a batch. In each step a
    linear classifier is trained on these labels from a new start; then the task encoder moves to
    labels that the classifier gives better, all clusters being used.

    Implementation of `Let Go of Your Labels with Unsupervised Transfer
    <https://arxiv.org/abs/2406.07236>`_ (ICML 2024), with one space of features and its cold start.
    As there, no gradient passes the training of the classifier. Rows are standardised, as those of
    an encoder that was trained elsewhere have any scale.

    Args:
        num_clusters (int): K.
        backbone (dict, optional): Config of an encoder or of any backbone; None takes rows.
        in_channels (int, optional): D, the width of the rows; the encoder's when not given.
        inner_steps (int): Steps of Adam of the classifier. Defaults to 10.
        inner_lr (float): Their learning rate. Defaults to 1e-3.
        entropy_weight (float): Weight of the entropy of the mean label. Defaults to 10.
        data_preprocessor (dict, optional): Config of the preprocessor.

    Raises:
        ValueError: If neither an encoder nor ``in_channels`` says how wide rows are, or a value is
            out of range.
    """

    needs: Tuple[str, ...] = ('view1',)
    remedies = dict(
        largest_share='raise model.entropy_weight',
        dead_clusters='raise model.entropy_weight, or lower num_clusters',
    )

    def __init__(
        self,
        num_clusters: int,
        backbone: Optional[dict] = None,
        in_channels: Optional[int] = None,
        inner_steps: int = 10,
        inner_lr: float = 1e-3,
        entropy_weight: float = 10.0,
        data_preprocessor: Optional[Union[dict, nn.Module]] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        encoder = build_backbone(backbone)
        super().__init__(num_clusters, encoder, data_preprocessor, init_cfg)
        in_channels = width_of_rows(type(self), encoder, in_channels)
        if inner_steps < 1:
            raise ValueError(f'inner_steps must be at least 1, got {inner_steps}')
        if inner_lr <= 0:
            raise ValueError(f'inner_lr must be above 0, got {inner_lr}')
        if entropy_weight < 0:
            raise ValueError(f'entropy_weight must not be negative, got {entropy_weight}')
        self.inner_steps = inner_steps
        self.inner_lr = inner_lr
        self.entropy_weight = entropy_weight
        self.standardize = Standardize(in_channels)
        self.task = weight_norm(nn.Linear(in_channels, num_clusters))

    def scores(self, rows: Tensor) -> Tensor:
        """Scores of the task encoder for rows (B, D), shape (B, K)."""
        return self.task(self.standardize(rows))

    def loss(self, batch: Dict[str, Tensor]) -> Dict[str, Tensor]:
        """The paper's equation 12.

        Args:
            batch (dict): ``view1``, images (B, 3, H, W) or rows (B, D).

        Returns:
            dict: ``loss_classifier``, the cross-entropy of the trained classifier, and
            ``loss_entropy``, weighted, in [-weight ln K, 0].
        """
        rows = self.encode(batch['view1']).detach()
        self.standardize.update(rows)
        rows = self.standardize(rows)
        labels = as_float(self.task(rows)).softmax(dim=1)
        self.count_clusters(labels.argmax(dim=1))
        start = nn.Linear(rows.shape[1], self.num_clusters, device=rows.device)
        weight, bias = train_classifier(
            rows, labels, start.weight, start.bias, self.inner_steps, self.inner_lr
        )
        log_p = as_float(nn.functional.linear(rows, weight, bias)).log_softmax(dim=1)
        entropy = torch.special.entr(mean_over_ranks(labels.mean(dim=0))).sum()
        return dict(
            loss_classifier=-(labels * log_p).sum(dim=1).mean(),
            loss_entropy=-self.entropy_weight * entropy,
        )


@torch.no_grad()
@full_precision
def train_classifier(
    rows: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, steps: int, lr: float
) -> Tuple[Tensor, Tensor]:
    """Train a linear classifier on soft labels by Adam, with all rows of all ranks in each step.

    Args:
        rows (Tensor): Shape (B, D), B the same on every rank.
        labels (Tensor): Probabilities (B, K).
        weight (Tensor): Where to start, (K, D); rank 0's counts.
        bias (Tensor): Shape (K,), likewise.
        steps (int): How many.
        lr (float): Of Adam.

    Returns:
        tuple: Weight and bias after training.
    """
    parameters = [weight.detach().clone(), bias.detach().clone()]
    for parameter in parameters:
        broadcast(parameter)
    optimizer = torch.optim.Adam(parameters, lr)
    for _ in range(steps):
        # The gradient of the cross-entropy of a softmax, in closed form.
        error = nn.functional.linear(rows, *parameters).softmax(dim=1) - labels
        gradients = (error.T @ rows / len(rows), error.mean(dim=0))
        for parameter, gradient in zip(parameters, gradients):
            all_reduce(gradient, 'mean')
            parameter.grad = gradient
        optimizer.step()
    return parameters[0], parameters[1]
