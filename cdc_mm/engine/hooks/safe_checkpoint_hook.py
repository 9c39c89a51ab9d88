import tempfile
from collections import deque

import numpy as np
from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.hooks import CheckpointHook
from mmpretrain.registry import HOOKS

from cdc_mm.checkpoints import note_newest, read_run
from cdc_mm.errors import RunError


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """A ``CheckpointHook`` whose files survive crashes and load under ``weights_only=True``.

    Local files are written atomically (:class:`AtomicBackend`), and an outdated checkpoint goes
    only after the new one is complete; mmengine deletes first and overwrites in place.

    mmengine puts log buffers and numpy scalars into a checkpoint, which today's torch refuses to
    load, so that resuming and testing fail. Here the smoothing windows of the log are left out and
    numpy scalars become Python numbers. The arguments are those of ``CheckpointHook``;
    of the figures of :class:`ClusteringMetric` that say without labels how sure clusters are,
    ``save_best`` knows that more is better.
    """

    _default_greater_keys = [
        *CheckpointHook._default_greater_keys,
        'clustering/linear_cv',
        'clustering/silhouette',
        'clustering/head_agreement',
    ]

    def before_train(self, runner) -> None:
        """Choose how files are written."""
        out_dir = str(self.out_dir or runner.work_dir)
        if self.backend_args is None and isinstance(get_file_backend(out_dir), LocalBackend):
            self.backend_args = dict(backend='atomic')
        super().before_train(runner)
        self._run = None
        self._rehearse(runner)

    def _rehearse(self, runner) -> None:
        """Save once before the first iteration, not to fail after the epochs before the first."""
        if not is_main_process():
            return
        try:
            with tempfile.TemporaryDirectory(dir=runner.work_dir, prefix='.rehearsal') as folder:
                name = self.filename_tmpl.format(0)
                self._write(runner, folder, name, {}, dict(backend='atomic'))
        except RunError:
            raise
        except Exception as error:  # of whatever saves
            raise RunError(
                f'no checkpoint of this training could be saved: {type(error).__name__}: {error}'
            ) from error

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Turn the checkpoint, in place, into plain containers, numbers and tensors."""
        message_hub = checkpoint.get('message_hub')
        if message_hub is not None:
            # mmengine warns of each name without a value.
            names = message_hub['resumed_keys'].items()
            names = {name: on for name, on in names if name in message_hub['runtime_info']}
            checkpoint['message_hub'] = dict(message_hub, log_scalars={}, resumed_keys=names)
        for key, value in checkpoint.items():
            if key != 'state_dict':
                checkpoint[key] = _to_plain(value)

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        self._run = self._run or read_run(runner.work_dir).get('id')
        if self._run is not None:
            meta['run_id'] = self._run
            if is_main_process() and read_run(runner.work_dir).get('id', self._run) != self._run:
                raise RunError(
                    f'another run has begun in {runner.work_dir}. This one ends, so as not to '
                    'overwrite its checkpoints.'
                )
        outdated = []
        if self.max_keep_ckpts > 0:
            steps = [kept for kept in self.keep_ckpt_ids if kept != step] + [step]
            outdated, steps = steps[: -self.max_keep_ckpts], steps[-self.max_keep_ckpts :]
            self.keep_ckpt_ids = deque(steps, self.max_keep_ckpts)
            runner.message_hub.update_info('keep_ckpt_ids', steps)
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        self._write(runner, self.out_dir, name, meta, self.backend_args)
        if not is_main_process():
            return
        note_newest(runner.work_dir, self.last_ckpt)
        for old in outdated:
            path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(old))
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)

    def _write(self, runner, folder: str, name: str, meta: dict, backend_args: dict) -> None:
        runner.save_checkpoint(
            folder,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=backend_args,
            **self.args,
        )


def _to_plain(value):
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        # Not from pairs: a Counter, as of MultiStepLR, would count these.
        return type(value)({_to_plain(k): _to_plain(v) for k, v in value.items()})
    if isinstance(value, (list, tuple)) and not hasattr(value, '_fields'):
        return type(value)(_to_plain(item) for item in value)
    return value
