"""Helpers of the tests."""

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import torch.multiprocessing as mp

ROOT = Path(__file__).resolve().parents[1]
CONFIG = 'configs/cdc_digits.py'
# Options that make a network of it that trains an epoch in a moment.
SMALL = (
    'train_dataloader.batch_size=64',
    'model.backbone.channels=[4,4,4,8]',
    'model.neck.in_channels=8',
    'model.queue_size=100',
    'train_cfg.val_interval=1',
    'default_hooks.checkpoint.interval=1',
)


def _rank_main(rank, world_size, store, function, args, results):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{store}', rank=rank, world_size=world_size
    )
    try:
        results[rank] = function(rank, world_size, *args)
        # A rank that leaves while another still connects would take it down.
        torch.distributed.barrier()
    finally:
        torch.distributed.destroy_process_group()


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]


def run_ranks(world_size, function, *args):
    """Run ``function(rank, world_size, *args)`` on gloo ranks; returns their results by rank."""
    with tempfile.TemporaryDirectory() as folder, mp.Manager() as manager:
        results = manager.dict()
        mp.start_processes(
            _rank_main,
            (world_size, Path(folder) / 'store', function, args, results),
            nprocs=world_size,
            start_method='fork',
        )
        return [results[rank] for rank in range(world_size)]


def run_tool(*args, check=True, env=None, timeout=300):
    """Run a command as a user would, from the root of the repository."""
    command = [str(arg) for arg in args]
    if command[0].endswith('.py'):
        command.insert(0, sys.executable)
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={
            **os.environ,
            'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}',
            'OMP_NUM_THREADS': '1',
            **(env or {}),
        },
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    if check:
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def log_of(work_dir):
    """The full log of the newest run in a work dir."""
    return max(Path(work_dir).glob('*/*.log')).read_text()
