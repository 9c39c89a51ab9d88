import difflib
import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from pprint import pformat
from typing import Dict, List, Optional, Sequence

import mmengine
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import find_latest_checkpoint
from mmpretrain.registry import DATASETS, MODELS

from cdc_mm.atomic import dump_atomically, write_atomically
from cdc_mm.engine import build_runner, prepare_training, set_dataloader_defaults
from cdc_mm.errors import clear_errors
from cdc_mm.evaluation.functional import metrics_in_words
from cdc_mm.shipped import find_shipped

_CHILD = 'import sys; from cdc_mm.experiments import train_and_test; train_and_test(*sys.argv[1:])'
_STATUS_SECONDS = 30


@dataclass
class StageRun:
    """One seed of one stage: a training, followed by a test of its last checkpoint.

    Args:
        stage (str): Names of the configs up to this one, joined by ``+``.
        seed (int): The seed.
        config (str): The config as the user gave it.
        cfg (Config): The full config of this run.
        folder (Path): Its work dir. The config lies beside it as ``<folder>.py``.
    """

    stage: str
    seed: int
    config: str
    cfg: Config
    folder: Path

    @property
    def config_file(self) -> Path:
        """The full config, as it was when the run started."""
        return self.folder.with_suffix('.py')

    @property
    def metrics_file(self) -> Path:
        """Written last: the run is finished when it is there."""
        return self.folder / 'metrics.json'

    @property
    def length(self) -> int:
        """Epochs, or iterations, of the training."""
        return self.cfg.train_cfg.get('max_epochs') or self.cfg.train_cfg.max_iters

    @property
    def done(self) -> int:
        """How many of them have been logged."""
        if self.metrics_file.is_file():
            return self.length
        counter = 'epoch' if self.cfg.train_cfg.get('max_epochs') else 'iter'
        for path in sorted(self.folder.glob('*/vis_data/scalars.json'), reverse=True):
            with path.open('rb') as file:
                file.seek(max(0, path.stat().st_size - 10_000))
                for line in reversed(file.read().decode(errors='ignore').splitlines()):
                    # Other than those of training, lines of validation have no counter. The last
                    # line may be half written, the first one half read.
                    if line.startswith('{') and line.endswith('}') and f'"{counter}"' in line:
                        return min(json.loads(line)[counter], self.length)
        return 0

    def __str__(self) -> str:
        return '/'.join(self.folder.parts[-3:])


def plan_seeds(
    configs: Sequence[str], num_seeds: int, work_dir: str, cfg_options: Optional[dict] = None
) -> List[List[StageRun]]:
    """Lay out the runs of a chain of configs over the seeds 0 to ``num_seeds`` - 1.

    The runs of a chain's first stages are found under the same names by every chain that starts
    with them, and are trained once.

    Args:
        configs (Sequence[str]): The stages in order. From the second on, a stage's ``load_from``
            becomes the last checkpoint of the stage before.
        num_seeds (int): Number of seeds.
        work_dir (str): The root of all runs: ``<work_dir>/<stage>/seed<n>``.
        cfg_options (dict, optional): Changes to the configs of all stages.

    Returns:
        list: For each seed, its runs in order.

    Raises:
        ValueError: If a config cannot be tested, or its runs were started with other settings.
    """
    if num_seeds < 1:
        raise ValueError(f'the number of seeds must be at least 1, got {num_seeds}')
    chains = []
    for seed in range(num_seeds):
        chain, stage = [], ''
        for config in map(find_shipped, configs):
            stage += ('+' if stage else '') + Path(config).stem
            folder = Path(work_dir) / stage / f'seed{seed}'
            cfg = Config.fromfile(config)
            cfg.merge_from_dict({'randomness.seed': seed, **(cfg_options or {})})
            run = StageRun(stage, seed, str(config), cfg, folder)
            _check_same_settings(run)
            if seed == 0 and not run.metrics_file.is_file():
                _check_parts(run)
            chain.append(run)
        chains.append(chain)
    for run in (run for chain in chains for run in chain):
        run.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(run.config_file, _as_text(run.cfg))
    return chains


def _as_text(cfg: Config) -> str:
    # Config.pretty_text takes a second.
    return ''.join(
        f'{name} = {pformat(value, width=99, sort_dicts=False)}\n'
        for name, value in cfg.to_dict().items()
    )


def _check_same_settings(run: StageRun) -> None:
    if not run.config_file.is_file():
        return
    before, now = run.config_file.read_text().splitlines(), _as_text(run.cfg).splitlines()
    changes = [x for x in difflib.unified_diff(before, now, n=0) if not x.startswith(('@@', '--'))]
    if changes:
        raise ValueError(
            f'{run.folder} was run with other settings (- then, + now):\n  '
            + '\n  '.join(changes[1:7])
            + '\nGo on with the same ones, choose another --work-dir, or delete that folder and '
            f'{run.config_file}.'
        )


def _check_parts(run: StageRun) -> None:
    """Build model and data once, so that a mistake in the last stage shows before the first."""
    if run.cfg.get('test_dataloader') is None:
        raise ValueError(f'{run.config} has no test_dataloader, which evaluates each seed')
    init_default_scope(run.cfg.get('default_scope', 'mmpretrain'))
    MODELS.build(run.cfg.model)
    for loader in (run.cfg.train_dataloader, run.cfg.test_dataloader):
        DATASETS.build(loader.dataset)


def train_and_test(config: str, load_from: Optional[str] = None) -> dict:
    """Train from where the work dir stands, test the last checkpoint and write ``metrics.json``.

    Args:
        config (str): File of a full config, beside the work dir: ``seed0.py`` for ``seed0``.
        load_from (str, optional): Weights to start from instead of the config's ``load_from``. A
            half-trained run goes on from its own last checkpoint.

    Returns:
        dict: The metrics of the test.
    """
    with clear_errors():
        cfg = Config.fromfile(config)
        cfg.work_dir = str(Path(config).with_suffix(''))
        if find_latest_checkpoint(cfg.work_dir) is not None:
            cfg.resume, cfg.load_from = True, None
        elif load_from is not None:
            cfg.load_from = load_from
        set_dataloader_defaults(cfg)
        runner = build_runner(cfg)
        prepare_training(runner)
    runner.train()
    metrics = runner.test()
    dump_atomically(Path(cfg.work_dir) / 'metrics.json', metrics)
    return metrics


def visible_devices() -> List[Optional[str]]:
    """The GPUs that may be used, by the name that CUDA_VISIBLE_DEVICES has for each.

    Returns:
        list: One entry a GPU, or only None, the CPU.
    """
    named = os.environ.get('CUDA_VISIBLE_DEVICES', '').split(',')
    count = torch.cuda.device_count()
    return (named if len(named) == count and named[0] else list(map(str, range(count)))) or [None]


def launch(run: StageRun, load_from: Optional[str], device: Optional[str]) -> subprocess.Popen:
    """Start :func:`train_and_test` in a process of its own, which sees one GPU.

    Args:
        run (StageRun): What to run. The output goes to ``console.log`` in its folder.
        load_from (str, optional): The checkpoint of the stage before.
        device (str, optional): The GPU, or None for the CPU.
    """
    command = [sys.executable, '-c', _CHILD, str(run.config_file)]
    env = dict(os.environ) if device is None else {**os.environ, 'CUDA_VISIBLE_DEVICES': device}
    with (run.folder / 'console.log').open('a') as log:
        return subprocess.Popen(
            command + ([load_from] if load_from else []),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=env,
        )


def run_chains(
    chains: List[List[StageRun]], devices: Sequence[Optional[str]], poll_seconds: float = 0.5
) -> List[StageRun]:
    """Run what is not finished, one chain at a time on each device, and show how far it is.

    Args:
        chains (list): For each chain, its runs in order.
        devices (Sequence): See :func:`visible_devices`.
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
                load_from = None if i == 0 else find_latest_checkpoint(str(chain[i - 1].folder))
                status.say(f'{run}: {"goes on" if run.done else "starts"}')
                running[device] = (launch(run, load_from, device), run, chain)
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
                    status.say(f'{run}: {metrics_in_words(mmengine.load(run.metrics_file))}')
                    start(device, chain)
                else:
                    failed.append(run)
                    status.say(f'{run}: failed, see {run.folder / "console.log"}\n{_tail(run)}')
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


def _tail(run: StageRun) -> str:
    lines = (run.folder / 'console.log').read_text(errors='replace').splitlines()
    errors = [i for i, line in enumerate(lines) if line.startswith('error: ')]
    return '\n'.join(lines[errors[-1] if errors else -5 :])
