"""Memory of a training process over its iterations: the slope should be none.

Trains CDC on the digits with a small network, everything else as in a real run (hooks, log,
validation, checkpoints), and fits a line through the resident memory of the second half.

Usage: python benchmarks/memory.py [--iters 2000]
"""

import argparse
import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook

from cdc_mm import apis

ROOT = Path(__file__).resolve().parents[1]


class MemoryHook(Hook):
    """Notes the resident memory and, on a GPU, what tensors hold, every ``interval`` iterations."""

    def __init__(self, interval: int = 20) -> None:
        self.interval = interval
        self.rows = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Note it."""
        if self.every_n_train_iters(runner, self.interval):
            pages = int(Path('/proc/self/statm').read_text().split()[1])
            self.rows.append((runner.iter + 1, pages * 4096, torch.cuda.memory_allocated()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--iters', type=int, default=2000)
    args = parser.parse_args()

    cfg = Config.fromfile(ROOT / 'configs' / 'cdc_digits.py')
    cfg.model.backbone.channels = (4, 4, 4, 8)
    cfg.model.neck.in_channels = 8
    cfg.train_cfg.max_epochs = -(-args.iters // 11)  # 11 iterations of 128 images
    with tempfile.TemporaryDirectory() as work_dir, contextlib.redirect_stdout(io.StringIO()):
        cfg.work_dir = work_dir
        apis.set_dataloader_defaults(cfg)
        runner = apis.build_runner(cfg)
        apis.prepare_training(runner)
        hook = MemoryHook()
        runner.register_hook(hook)
        runner.train()
    iters, resident, tensors = np.array(hook.rows, dtype=float).T
    half = len(iters) // 2
    for name, values in (('resident', resident), ('CUDA tensors', tensors)):
        slope = np.polyfit(iters[half:], values[half:], 1)[0]
        print(
            f'{name:13} {values[0] / 2**20:8.1f} MiB at iteration {iters[0]:.0f}, '
            f'{values[half] / 2**20:.1f} at {iters[half]:.0f}, {values[-1] / 2**20:.1f} at '
            f'{iters[-1]:.0f}; slope of the second half {slope:+.0f} bytes an iteration'
        )


if __name__ == '__main__':
    main()
