import math
import os
import shutil
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import torch
from mmengine.dist import all_reduce, is_main_process
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS

from cdc_mm.checkpoints import newest_checkpoint
from cdc_mm.errors import RunError
from cdc_mm.models import BaseClusterer
from cdc_mm.wrappers import unwrap_model

HEALTHY = 'healthy.pth'
# What to try, by sign, where the model names nothing better; names as in a config.
_REMEDIES = dict(
    not_finite=(
        'lower optim_wrapper.optimizer.lr, set optim_wrapper.clip_grad=dict(max_norm=1.0), or '
        'train without --amp'
    ),
    largest_share='lower optim_wrapper.optimizer.lr',
    dead_clusters='lower the number of clusters, if the data have fewer kinds of images',
    entropy='lower optim_wrapper.optimizer.lr',
    uniform='lower optim_wrapper.optimizer.lr',
    spread='lower optim_wrapper.optimizer.lr',
)


@HOOKS.register_module()
class CollapseWatchHook(Hook):
    """Notices a training that has collapsed and names the knob to turn.

    Signs: loss or weights that are NaN or infinite (a gradient that is reaches the weights); one
    cluster that holds more than half of what the others could have; more than a quarter of the
    clusters without an image; assignments without preference (entropy above 0.98); a loss at its
    value for a uniform prediction (within 1 %); features without spread (below 0.2). The first is
    told at once, the others when they last: every training begins with some. All but the first
    come from the clusterer's :meth:`~cdc_mm.models.BaseClusterer.diagnostics`.

    At the end of a training and of a test, however short, the sizes of the clusters in the last
    validation or in the test are judged once more.

    When a sign appears, the newest checkpoint is kept as ``healthy.pth`` in the work dir until it
    is gone again, however many are saved meanwhile.

    Args:
        interval (int): Iterations between two looks; one host synchronisation each. Defaults to
            100.
        patience (float): Epochs that a sign must last. Defaults to 10.
        on_collapse (str): ``warn``, or ``stop`` to end the run. Defaults to ``warn``.

    Raises:
        ValueError: If a value is out of range.
    """

    def __init__(
        self, interval: int = 100, patience: float = 10, on_collapse: str = 'warn'
    ) -> None:
        if interval < 1:
            raise ValueError(f'interval must be at least 1, got {interval}')
        if patience < 0:
            raise ValueError(f'patience must not be negative, got {patience}')
        if on_collapse not in ('warn', 'stop'):
            raise ValueError(f"on_collapse must be 'warn' or 'stop', got {on_collapse!r}")
        self.interval = interval
        self.patience = patience
        self.on_collapse = on_collapse
        self._since: Dict[str, int] = {}  # sign -> iteration at which it appeared
        self._told = set()
        self._validated: Optional[List[int]] = None  # sizes of the clusters in the last validation

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Do not let weights that are NaN replace those that are not."""
        weights = [v for v in checkpoint['state_dict'].values() if v.is_floating_point()]
        if not _all_finite(weights):
            self._judge(runner, dict(not_finite='the weights hold NaN or infinity'))

    def after_train_iter(
        self, runner, batch_idx: int, data_batch=None, outputs: Optional[dict] = None
    ) -> None:
        """Look at the outputs and the weights every ``interval`` iterations."""
        if self.every_n_train_iters(runner, self.interval):
            self._judge(runner, self._signs(runner, outputs or {}))

    def after_val_epoch(self, runner, metrics: Optional[Dict[str, Any]] = None) -> None:
        """Remember the sizes of the clusters."""
        self._validated = _sizes_in(metrics)

    def after_train(self, runner) -> None:
        """Say what is wrong with the sizes of the clusters in the last validation."""
        self._close(runner, self._validated, 'last validation')

    def after_test_epoch(self, runner, metrics: Optional[Dict[str, Any]] = None) -> None:
        """Say what is wrong with the sizes of the clusters."""
        self._close(runner, _sizes_in(metrics), 'test')

    def _close(self, runner, sizes: Optional[List[int]], where: str) -> None:
        sizes = sizes or []
        # One cluster that holds all is one with few images, too; empty ones need not be wrong.
        enough = sum(sizes) >= 2 * len(sizes)
        signs = _judge_sizes(sizes, of_many=sum(sizes) >= 20 * len(sizes)) if enough else {}
        for sign, text in signs.items():
            remedies = {**_REMEDIES, **getattr(unwrap_model(runner.model), 'remedies', {})}
            runner.logger.warning(
                f'In the {where}, of {sum(sizes)} images, {text}. Where the images do differ, '
                f'{remedies[sign]}, and train longer.'
            )

    def _signs(self, runner, outputs: dict) -> Dict[str, str]:
        """What is wrong, as sentences."""
        model = unwrap_model(runner.model)
        seen = model.diagnostics() if isinstance(model, BaseClusterer) else {}
        uniform = {k: v for k, v in seen.get('uniform', {}).items() if k in outputs}
        names = dict.fromkeys(
            name
            for name in ('loss', *uniform, seen.get('entropy'), seen.get('spread'))
            if name in outputs
        )
        values = torch.stack([outputs[name].detach().float() for name in names])
        finite = _all_finite([p.detach() for p in model.parameters()]).to(values)
        # All ranks must judge alike.
        values = torch.cat([values, finite[None]])
        all_reduce(values, 'mean')
        *values, finite = values.tolist()
        values = dict(zip(names, values, strict=True))
        signs = {}
        if not (finite == 1 and all(map(math.isfinite, values.values()))):
            signs['not_finite'] = 'the loss or the weights are NaN or infinite'
        signs.update(self._size_signs(seen.get('cluster_sizes')))
        entropy = values.get(seen.get('entropy'))
        if entropy is not None and entropy > 0.98:
            signs['entropy'] = f'the assignments prefer no cluster (entropy {entropy:.3f} of 1)'
        for name, value in uniform.items():
            if abs(values[name] / value - 1) < 0.01:
                signs['uniform'] = f'{name} is {value:.2f}, that of a uniform prediction'
        spread = values.get(seen.get('spread'))
        if spread is not None and spread < 0.2:
            signs['spread'] = (
                f'the features are nearly the same for all images ({seen["spread"]} {spread:.3f})'
            )
        return signs

    def _size_signs(self, sizes: Optional[torch.Tensor]) -> Dict[str, str]:
        """What is wrong with the sizes of the clusters."""
        if sizes is None:
            return {}
        counts = sizes.tolist()
        # Too few to expect an image in every cluster: as they were.
        if sum(counts) < 20 * len(counts):
            return {s: '' for s in ('largest_share', 'dead_clusters') if s in self._since}
        sizes.zero_()
        return _judge_sizes(counts)

    def _judge(self, runner, signs: Dict[str, str]) -> None:
        if signs and not self._since:
            _keep_newest(runner)
        elif self._since and not signs:
            self._told.clear()
            if is_main_process():
                (Path(runner.work_dir) / HEALTHY).unlink(missing_ok=True)
        self._since = {sign: self._since.get(sign, runner.iter) for sign in signs}
        patience = self.patience * len(runner.train_dataloader)
        lasting = [
            sign
            for sign, since in self._since.items()
            if signs[sign]
            and sign not in self._told
            and (sign == 'not_finite' or runner.iter - since >= patience)
        ]
        if not lasting:
            return
        self._told.update(lasting)
        healthy = Path(runner.work_dir) / HEALTHY
        model = unwrap_model(runner.model)
        remedies = {**_REMEDIES, **getattr(model, 'remedies', {})}
        text = 'The training has collapsed: ' + '; '.join(
            f'{signs[sign]} since iteration {self._since[sign] + 1}: {remedies[sign]}'
            for sign in lasting
        )
        text += (
            f'. {healthy} is the last checkpoint from before.'
            if healthy.is_file()
            else '. There is no checkpoint from before.'
        )
        if self.on_collapse == 'stop':
            raise RunError(text)
        runner.logger.warning(text)


def _judge_sizes(counts: Sequence[float], of_many: bool = True) -> Dict[str, str]:
    """What is wrong with the sizes of clusters; without ``of_many`` empty ones are not."""
    if not sum(counts):
        return {}
    k, share, dead = len(counts), max(counts) / sum(counts), counts.count(0)
    signs = {}
    if share > (1 + 1 / k) / 2:
        signs['largest_share'] = f'one cluster holds {100 * share:.0f} % of the images'
    if of_many and dead > k / 4:
        signs['dead_clusters'] = f'{dead} of {k} clusters hold no image'
    return signs


def _sizes_in(metrics: Optional[Dict[str, Any]]) -> Optional[List[int]]:
    """The sizes of the clusters among the metrics of :class:`ClusteringMetric`."""
    return next((v for k, v in (metrics or {}).items() if k.endswith('cluster_sizes')), None)


def _all_finite(tensors) -> torch.Tensor:
    """Whether all entries are finite, as a boolean on their device."""
    return torch.stack(torch._foreach_norm([t.float() for t in tensors])).isfinite().all()


def _keep_newest(runner) -> None:
    """Give the newest checkpoint a second name."""
    newest = newest_checkpoint(runner.work_dir)
    if not is_main_process() or newest is None or not Path(newest).is_file():
        return
    healthy = Path(runner.work_dir) / HEALTHY
    healthy.unlink(missing_ok=True)
    try:
        os.link(newest, healthy)
    except OSError:  # a file system without hard links
        shutil.copyfile(newest, healthy)
