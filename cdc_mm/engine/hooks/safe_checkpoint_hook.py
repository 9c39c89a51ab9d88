import numpy as np
from mmengine.hooks import CheckpointHook
from mmpretrain.registry import HOOKS


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """A ``CheckpointHook`` whose files load with ``torch.load(weights_only=True)``.

    mmengine puts log buffers and numpy scalars into a checkpoint, which today's torch refuses to
    load, so that resuming and testing fail. Here the smoothing windows of the log are left out and
    numpy scalars become Python numbers. The arguments are those of ``CheckpointHook``.
    """

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Turn the checkpoint, in place, into plain containers, numbers and tensors."""
        message_hub = checkpoint.get('message_hub')
        if message_hub is not None:
            checkpoint['message_hub'] = dict(message_hub, log_scalars={})
        for key, value in checkpoint.items():
            if key != 'state_dict':
                checkpoint[key] = _to_plain(value)


def _to_plain(value):
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return type(value)((_to_plain(k), _to_plain(v)) for k, v in value.items())
    if isinstance(value, (list, tuple)) and not hasattr(value, '_fields'):
        return type(value)(_to_plain(item) for item in value)
    return value
