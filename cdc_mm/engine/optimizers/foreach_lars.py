from typing import Callable, Iterable, List, Optional, Tuple

import torch
from mmpretrain.registry import OPTIMIZERS
from torch import Tensor
from torch.optim import Optimizer

# Values that one factor scales in the scratch space.
_BLOCK = 1024


@OPTIMIZERS.register_module()
class ForeachLARS(Optimizer):
    """MMPretrain's ``LARS`` in a few calls for all parameters together, which wait for no device.

    The same updates to float32's rounding. Norms stay on the device, and parameters whose settings
    are equal are stepped together, in however many groups they come: a config with
    ``paramwise_cfg`` gives each a group of its own. A copy of the gradients of the adapted
    parameters is kept as scratch space.

    Layer-wise adaptive rates: `Large Batch Training of Convolutional Networks
    <https://arxiv.org/abs/1708.03888>`_, algorithm 1. A group with ``lars_exclude=True`` is plain
    SGD with momentum.

    Args:
        params (Iterable): Parameters or dicts of groups.
        lr (float): Learning rate, at least 0.
        momentum (float): Momentum, at least 0. Defaults to 0.
        weight_decay (float): Weight decay, at least 0. Defaults to 0.
        eta (float): Ratio of the norm of a parameter's update to its own, at lr 1. Defaults to
            0.001.
        eps (float): Added to the norm that is divided by. Defaults to 1e-8.

    Raises:
        ValueError: If a value is out of range.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        eta: float = 0.001,
        eps: float = 1e-8,
    ) -> None:
        settings = dict(lr=lr, momentum=momentum, weight_decay=weight_decay, eta=eta, eps=eps)
        for name, value in settings.items():
            if value < 0:
                raise ValueError(f'{name} must not be negative, got {value}')
        self._scratch = {}
        super().__init__(params, dict(settings, lars_exclude=False))

    def __setstate__(self, state: dict) -> None:
        """Take over state, also that of a checkpoint of MMPretrain's ``LARS``."""
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in self.defaults.items():
                group.setdefault(name, value)
        self._scratch = {}

    @torch.no_grad()
    def step(self, closure: Optional[Callable] = None) -> Optional[Tensor]:
        """Do one step.

        Args:
            closure (Callable, optional): Computes the loss and its gradients anew.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        buckets = {}
        for group in self.param_groups:
            names = ('lr', 'momentum', 'weight_decay', 'eta', 'eps', 'lars_exclude')
            settings = tuple(group[name] for name in names)
            for p in group['params']:
                if p.grad is not None:
                    buckets.setdefault((*settings, p.device, p.dtype), []).append(p)
        by_momentum = {}
        for (lr, momentum, decay, eta, eps, excluded, *kind), params in buckets.items():
            grads = [p.grad for p in params]
            if excluded:
                updates = _decayed(grads, params, decay)
            else:
                updates = self._adapted(params, grads, lr, decay, eta, eps)
                lr = 1.0  # it is in the updates
            by_momentum.setdefault((momentum, *kind), []).append((params, updates, lr))
        for (momentum, *_), parts in by_momentum.items():
            if momentum:
                self._add_momentum(parts, momentum)
            else:
                for params, updates, lr in parts:
                    torch._foreach_sub_(params, updates, alpha=lr)
        return loss

    def _add_momentum(self, parts: List[Tuple[list, list, float]], momentum: float) -> None:
        """A step of parts of the parameters, each with its updates and what multiplies them."""
        params = [p for part in parts for p in part[0]]
        buffers = self._buffers(params)
        torch._foreach_mul_(buffers, momentum)
        start = 0
        for own, updates, lr in parts:
            torch._foreach_add_(buffers[start : start + len(own)], updates, alpha=lr)
            start += len(own)
        torch._foreach_sub_(params, buffers)

    def _buffers(self, params: List[Tensor]) -> List[Tensor]:
        for p in params:
            state = self.state[p]
            if 'momentum_buffer' not in state:
                state['momentum_buffer'] = torch.zeros_like(p)
        return [self.state[p]['momentum_buffer'] for p in params]

    def _adapted(
        self,
        params: List[Tensor],
        grads: List[Tensor],
        lr: float,
        decay: float,
        eta: float,
        eps: float,
    ) -> List[Tensor]:
        """Updates with their local learning rates applied, times lr."""
        norms = torch.stack(torch._foreach_norm([*params, *grads]))
        weight_norm, grad_norm = norms.split(len(params))
        factor = weight_norm / torch.add(grad_norm, weight_norm, alpha=decay).add_(eps)
        factor.mul_(eta * lr)
        factor.masked_fill_(torch.minimum(weight_norm, grad_norm) == 0, lr)
        # No call multiplies each of many tensors by a number that is on the device. So they lie in
        # one block after the other, and blocks have their factors.
        blocks, updates, owner = self._space(params)
        torch._foreach_copy_(updates, grads)
        if decay:
            torch._foreach_add_(updates, params, alpha=decay)
        blocks.mul_(factor.take(owner))
        return updates

    def _space(self, params: List[Tensor]) -> Tuple[Tensor, List[Tensor], Tensor]:
        """Scratch space for a set of parameters.

        Returns:
            tuple: Blocks (M, _BLOCK); for each parameter a view of its own blocks, of its shape and
            strides; for each block the number of its parameter (M, 1).
        """
        names = tuple(map(id, params))
        if names not in self._scratch:
            # Which parameters have a gradient changes with the method, not with the step.
            used = {id(p) for p in params}
            self._scratch = {k: v for k, v in self._scratch.items() if used.isdisjoint(k)}
            counts = torch.tensor([-(-p.numel() // _BLOCK) for p in params])
            starts = (counts.cumsum(0) - counts).tolist()
            like = params[0]
            blocks = like.new_zeros(int(counts.sum()), _BLOCK)
            updates = [
                blocks.as_strided(p.shape, _strides(p), _BLOCK * start)
                for p, start in zip(params, starts, strict=True)
            ]
            owner = torch.arange(len(params)).repeat_interleave(counts)[:, None].to(like.device)
            self._scratch[names] = blocks, updates, owner
        return self._scratch[names]


def _decayed(grads: List[Tensor], params: List[Tensor], decay: float) -> List[Tensor]:
    return torch._foreach_add(grads, params, alpha=decay) if decay else grads


def _strides(p: Tensor) -> Tuple[int, ...]:
    """The strides of a tensor, or of a contiguous one if it has gaps."""
    return torch.empty_like(p, device='meta').stride()
