import os
import signal
import subprocess
import sys
import time
from collections import deque
from datetime import timedelta
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import mmengine
import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from cdc_mm.atomic import dump_atomically
from cdc_mm.checkpoints import newest_checkpoint
from cdc_mm.engine import (
    build_runner,
    claim_work_dir,
    prepare_training,
    set_dataloader_defaults,
)
from cdc_mm.errors import clear_errors, clear_run_errors
from cdc_mm.evaluation import DumpClusters
from cdc_mm.evaluation.functional import metrics_in_words
from cdc_mm.models import BaseClusterer
from cdc_mm.processes import start_in_background
from cdc_mm.wrappers import unwrap_model

from .plan import StageRun, why_untestable

_STATUS_SECONDS = 30


def open_run(config: str, load_from: Optional[str] = None, launcher: str = 'none') -> Runner:
    """The runner of a run, about to train from where its work dir stands.

    Args:
        config (str): File of a full config, beside the work dir: ``seed0.py`` for ``seed0``.
        load_from (str, optional): Weights to start from instead of the config's ``load_from``. A
            half-trained run goes on from its own last checkpoint.
        launcher (str): ``pytorch`` in one of several processes. Defaults to ``none``.

    Raises:
        SystemExit: If it cannot train, with one line that says why.
    """
    with clear_errors():
        cfg = Config.fromfile(config)
        cfg.work_dir = str(Path(config).with_suffix(''))
        cfg.launcher = launcher
        if newest_checkpoint(cfg.work_dir) is not None:
            cfg.resume, cfg.load_from = True, None
        elif load_from is not None:
            cfg.load_from = load_from
        claim = claim_work_dir(cfg)
        set_dataloader_defaults(cfg)
        runner = build_runner(cfg)
        prepare_training(runner)
        claim.hand_to(runner)
    return runner


def train_and_test(config: str, load_from: Optional[str] = None, launcher: str = 'none') -> dict:
    """Train from where the work dir stands, test the last checkpoint and write ``metrics.json``.

    A model that predicts nothing is only trained; its file has no metrics. The clusters that a
    clusterer predicts are kept in ``predictions.npz``.

    Args:
        config (str): File of a full config, beside the work dir: ``seed0.py`` for ``seed0``.
        load_from (str, optional): Weights to start from instead of the config's ``load_from``. A
            half-trained run goes on from its own last checkpoint.
        launcher (str): ``pytorch`` in one of several processes. Defaults to ``none``.

    Returns:
        dict: The metrics of the test.
    """
    runner = open_run(config, load_from, launcher)
    cfg = runner.cfg
    with clear_run_errors():
        runner.train()
        model, metrics = unwrap_model(runner.model), {}
        if not why_untestable(cfg, model):
            if isinstance(model, BaseClusterer):
                kept = DumpClusters(str(Path(cfg.work_dir) / 'predictions.npz'))
                runner.test_evaluator.metrics.append(kept)
            metrics = runner.test()
        if is_main_process():
            dump_atomically(Path(cfg.work_dir) / 'metrics.json', metrics)
    return metrics


def visible_devices(per_run: int = 1) -> List[Optional[str]]:
    """The GPUs that may be used, in groups, by the names that CUDA_VISIBLE_DEVICES has for them.

    Args:
        per_run (int): GPUs in a group. Those that are left over are not used. Defaults to 1.

    Returns:
        list: One entry a group, such as ``0,1``; or only None, the CPU.

    Raises:
        ValueError: If there are fewer GPUs, but not none.
    """
    if per_run < 1:
        raise ValueError(f'--gpus-per-run must be at least 1, got {per_run}')
    named = os.environ.get('CUDA_VISIBLE_DEVICES', '').split(',')
    count = torch.cuda.device_count()
    names = named if len(named) == count and named[0] else list(map(str, range(count)))
    if 0 < count < per_run:
        raise ValueError(f'--gpus-per-run {per_run}: there are {count}')
    groups = [names[i : i + per_run] for i in range(0, count - per_run + 1, per_run)]
    return [','.join(group) for group in groups] or [None]


def launch(
    run: StageRun, load_from: Optional[str], device: Optional[str], processes: int
) -> subprocess.Popen:
    """Start :func:`train_and_test` in processes of its own, which see one group of GPUs.

    Args:
        run (StageRun): What to run. The output goes to ``console.log`` in its folder.
        load_from (str, optional): The checkpoint of the stage before.
        device (str, optional): The GPUs, or None for the CPU.
        processes (int): One for each GPU; on the CPU, how many share it.
    """
    command = [sys.executable, '-m']
    if processes > 1:
        # Each run finds a port of its own.
        command += ['torch.distributed.run', '--standalone', f'--nproc-per-node={processes}', '-m']
    command += ['cdc_mm.experiments', str(run.config_file)]
    command += ['--load-from', load_from] if load_from else []
    command += ['--launcher', 'pytorch'] if processes > 1 else []
    env = dict(os.environ) if device is None else {**os.environ, 'CUDA_VISIBLE_DEVICES': device}
    with (run.folder / 'console.log').open('a') as log:
        return start_in_background(command, env, log)


def run_chains(
    chains: List[List[StageRun]],
    devices: Sequence[Optional[str]],
    processes: int = 1,
    poll_seconds: float = 0.5,
) -> List[StageRun]:
    """Run what is not finished, one chain at a time on each device, and show how far it is.

    Args:
        chains (list): For each chain, its runs in order.
        devices (Sequence): See :func:`visible_devices`.
        processes (int): Processes of each run: the GPUs of a group. Defaults to 1.
        poll_seconds (float): Time between two looks at the processes.

    Returns:
        list: The runs that failed. What would follow them in their chain is left out.

    Raises:
        SystemExit: If it is interrupted or told to end. The processes end first.
    """
    waiting = deque(chains)
    running: Dict[Optional[str], tuple] = {}  # device -> (process, run, the runs that follow)
    failed = []
    status = _Status([run for chain in chains for run in chain])

    def start(device: Optional[str], chain: List[StageRun]) -> None:
        for i, run in enumerate(chain):
            if not run.metrics_file.is_file():
                load_from = None if i == 0 else newest_checkpoint(chain[i - 1].folder)
                status.say(f'{run}: {"goes on" if run.done else "starts"}')
                running[device] = (launch(run, load_from, device, processes), run, chain)
                return

    # The processes must not outlive this one.
    handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while waiting or running:
            for device in devices:
                while waiting and device not in running:
                    start(device, waiting.popleft())
            time.sleep(poll_seconds)
            for device, (process, run, chain) in list(running.items()):
                if process.poll() is None:
                    continue
                del running[device]
                if process.returncode == 0 and run.metrics_file.is_file():
                    metrics = mmengine.load(run.metrics_file)
                    status.say(f'{run}: {metrics_in_words(metrics) or "trained"}')
                    start(device, chain)
                else:
                    failed.append(run)
                    log = run.folder / 'console.log'
                    status.say(f'{run}: failed, see {log}\n{last_words(run)}')
            status.show([run for _, run, _ in running.values()])
    except KeyboardInterrupt:
        raise SystemExit('stopped; the same command goes on from the last checkpoints') from None
    finally:
        signal.signal(signal.SIGTERM, handler)
        for process, _, _ in running.values():
            process.terminate()
        for process, _, _ in running.values():
            process.wait()
    return failed


class _Status:
    """Prints what happens, and between it how far the runs are and how long they will take."""

    def __init__(self, runs: List[StageRun]) -> None:
        self.runs = runs
        self.start = self.last = time.monotonic()
        self.before = self._share()

    def _share(self) -> float:
        # An epoch is taken to last equally long in every stage.
        return sum(run.done for run in self.runs) / sum(run.length for run in self.runs)

    def say(self, text: str) -> None:
        print(f'{time.strftime("%H:%M:%S")}  {text}', flush=True)

    def show(self, running: List[StageRun]) -> None:
        now = time.monotonic()
        if not running or now - self.last < _STATUS_SECONDS:
            return
        self.last = now
        share = self._share()
        left = 'time left not known yet'
        if share > self.before:
            seconds = (now - self.start) * (1 - share) / (share - self.before)
            left = f'about {timedelta(seconds=round(seconds))} left'
        at = ', '.join(f'{run} at {run.done}/{run.length}' for run in running)
        self.say(f'{at}; {share:.0%} of all, {left}')


def last_words(run: StageRun) -> str:
    """What the console of a run ends with: its error, or the last lines."""
    lines = (run.folder / 'console.log').read_text(errors='replace').splitlines()
    errors = [i for i, line in enumerate(lines) if line.startswith('error: ')]
    return '\n'.join(lines[errors[-1] if errors else -5 :])
