from typing import Tuple

import numpy as np
import torch
from mmengine.dist import broadcast, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, EpochBasedTrainLoop
from mmpretrain.registry import HOOKS
from torch import Tensor

from cdc_mm.errors import RunError
from cdc_mm.evaluation.functional import count_distinct, kmeans_clusters
from cdc_mm.models import DEC
from cdc_mm.models.losses import student_t_scores, target_distribution
from cdc_mm.wrappers import unwrap_model

from .training_rows import look_at_training_rows


@HOOKS.register_module()
class DECHook(Hook):
    """Ends the pretraining of a :class:`DEC` and keeps its targets up to date.

    After the pretraining k-means on the codes of the training images gives the centres; then, and
    again every few epochs, the targets of all training images are made of their present clusters.
    No label is looked at. One rank clusters, all get the same. A resumed training goes on as if it
    had not been interrupted.

    Args:
        pretrain_epochs (int): Epochs that only reconstruct, at least 1.
        interval (int): Epochs between two updates of the targets. Defaults to 1.
        restarts (int): Of k-means; the one of least inertia counts. Defaults to 20, DEC's.

    Raises:
        ValueError: If a value is out of range.
    """

    def __init__(self, pretrain_epochs: int, interval: int = 1, restarts: int = 20) -> None:
        for name, value in (
            ('pretrain_epochs', pretrain_epochs), ('interval', interval), ('restarts', restarts)
        ):  # fmt: skip
            if value < 1:
                raise ValueError(f'{name} must be at least 1, got {value}')
        self.pretrain_epochs = pretrain_epochs
        self.interval = interval
        self.restarts = restarts

    def check(self, runner) -> None:
        """Refuse a training that cannot be clustered, before it starts.

        Raises:
            ValueError: If the model is not a DEC, or the training goes by iterations or ends before
                its pretraining.
        """
        model = unwrap_model(runner.model)
        if not isinstance(model, DEC):
            raise ValueError(f'DECHook drives a DEC, and the model is a {type(model).__name__}')
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise ValueError('DECHook counts in epochs: use train_cfg=dict(by_epoch=True)')
        if self.pretrain_epochs >= runner.max_epochs:
            raise ValueError(
                f'after pretrain_epochs={self.pretrain_epochs} of {runner.max_epochs} epochs none '
                'is left to cluster: raise epochs'
            )

    def before_run(self, runner) -> None:
        """Make room for the targets, before a checkpoint is loaded; see :meth:`check`."""
        if isinstance(runner._train_loop, BaseLoop):
            self.check(runner)
            unwrap_model(runner.model).prepare(len(runner.train_dataloader.dataset))

    def before_train_epoch(self, runner) -> None:
        """Say whether this epoch pretrains; find centres and targets if it is time."""
        model = unwrap_model(runner.model)
        epoch = runner.epoch - self.pretrain_epochs
        model.pretraining = epoch < 0
        # A training that is resumed within an epoch has them already.
        begins = runner.iter == runner.epoch * len(runner.train_dataloader)
        if model.pretraining or not begins or epoch % self.interval:
            return

        @torch.no_grad()
        def look(rows: Tensor) -> Tuple[np.ndarray]:
            return (model.codes(rows.to(model.centers.device)).cpu().numpy(),)

        numbers, codes = look_at_training_rows(runner.cfg, model, look)
        if is_main_process():
            if epoch == 0:
                self._find_centers(model, codes, runner.seed or 0)
            self._set_targets(model, numbers, codes, runner)
        broadcast(model.centers.data)
        broadcast(model.soft_targets)

    def _find_centers(self, model: DEC, codes: np.ndarray, seed: int) -> None:
        if not np.isfinite(codes).all():
            raise RunError('the codes are not finite: lower optim_wrapper.optimizer.lr')
        distinct = count_distinct(codes, model.num_clusters)
        if distinct < model.num_clusters:
            raise RunError(
                f'the codes of {len(codes)} images are only {distinct} different ones, which '
                f'cannot be clustered into num_clusters={model.num_clusters}: lower it, leave out '
                'copies of images, or, if all codes have become the same, lower '
                'optim_wrapper.optimizer.lr'
            )
        labels = kmeans_clusters(codes, codes, model.num_clusters, self.restarts, seed)
        centers = [codes[labels == k].mean(axis=0) for k in range(model.num_clusters)]
        model.centers.data.copy_(torch.from_numpy(np.stack(centers)))

    @torch.no_grad()
    def _set_targets(self, model: DEC, numbers: np.ndarray, codes: np.ndarray, runner) -> None:
        points = torch.from_numpy(codes).to(model.centers)
        q = student_t_scores(points, model.centers).softmax(dim=1)
        numbers = torch.from_numpy(numbers)
        before = model.soft_targets[numbers]
        model.soft_targets[numbers] = target_distribution(q)
        if runner.epoch > self.pretrain_epochs:
            moved = float((q.argmax(dim=1) != before.argmax(dim=1)).float().mean())
            runner.visualizer.add_scalars({'dec/moved': moved}, step=runner.epoch)
        sizes = q.argmax(dim=1).bincount(minlength=model.num_clusters)
        runner.logger.info(
            f'Targets before epoch {runner.epoch + 1}: clusters of {int(sizes.min())} to '
            f'{int(sizes.max())} images.',
            extra=dict(file_only=True),
        )
