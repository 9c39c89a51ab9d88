"""Many methods, some seeds, one split: plan the runs, run them, go on where they were stopped."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from copy import deepcopy
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence

import mmengine
import numpy as np
import torch
from mmengine.config import Config

from cdc_mm.atomic import dump_atomically, write_atomically
from cdc_mm.console import say
from cdc_mm.engine import lock_work_dir, read_config
from cdc_mm.engine.work_dir import check_work_dir
from cdc_mm.processes import start_in_background

from .judging import BoardImages, open_images
from .methods import Method, choose_methods, find_methods
from .plan import StageRun, as_text, check_same_settings
from .seeds import last_words

_STATUS_SECONDS = 30
# How the names of configs end by kind of data, and the config that gives the split and, to
# estimators, the rows.
_DATA = dict(
    digits='configs/_base_/datasets/digits_images.py',
    lite0_rows='configs/_base_/datasets/lite0_rows.py',
)
_CIFAR10 = 'data/cifar10_folder'  # as configs/cdc_r18_cifar10_folder.py has it
_QUICK = 4  # times fewer epochs


class Data(NamedTuple):
    """What a leaderboard is of.

    Attributes:
        name (str): ``digits``, ``cifar10`` or a folder.
        kind (str): How the names of the configs for it end.
        options (dict): Where the images are, by the names that such a config has for it.
        images (BoardImages): The evaluation images.
        num_train (int): Number of training images.
        held_out (bool): Whether the evaluation images are others than those.
        num_clusters (int): K.
    """

    name: str
    kind: str
    options: dict
    images: BoardImages
    num_train: int
    held_out: bool
    num_clusters: int

    @property
    def split(self) -> str:
        """The split in words."""
        count = len(self.images.names)
        if not self.held_out:
            return f'trained and evaluated on the same {count} images'
        return f'trained on {self.num_train} images, evaluated on {count} held-out ones'


@dataclass(eq=False)
class BoardRun(StageRun):
    """A method with a seed.

    Args:
        method (Method): The method.
        after (BoardRun, optional): The run from whose checkpoint it starts.
        num_clusters (int): K.
    """

    method: Optional[Method] = None
    after: Optional['BoardRun'] = None
    num_clusters: int = 0

    @property
    def length(self) -> int:
        """Epochs, or iterations; of an estimator 1."""
        return 1 if self.method.estimator else super().length

    @property
    def done(self) -> int:
        """How many of them have been logged."""
        return int(self.finished) if self.method.estimator else super().done

    @property
    def finished(self) -> bool:
        """Whether its result is there."""
        return self.metrics_file.is_file()

    @property
    def failure_file(self) -> Path:
        """Why it failed, if it did."""
        return self.folder / 'failed.json'

    @property
    def last_checkpoint(self) -> str:
        """What its training ends with."""
        unit = 'epoch' if self.cfg.train_cfg.get('max_epochs') else 'iter'
        return str(self.folder / f'{unit}_{self.length}.pth')

    def __str__(self) -> str:
        return f'{self.method.name}, seed {self.seed}'


@dataclass
class Leaderboard:
    """What is to run, and what is not.

    Args:
        data (Data): The images.
        methods (list): All methods that were asked for, in the order of the table.
        runs (list): In the order in which they are to run: all methods with the first seed, then
            with the next.
        skipped (dict): Of a method that cannot run, why.
        seeds (int): Number of seeds, counted from 0.
        quick (bool): Whether trainings are shortened.
        out (Path): Where everything is written.
    """

    data: Data
    methods: List[Method]
    runs: List[BoardRun]
    skipped: Dict[str, str]
    seeds: int
    quick: bool
    out: Path


def open_data(name: str, num_clusters: Optional[int] = None) -> Data:
    """Open the images of a leaderboard; those of a folder pass the encoder first.

    Args:
        name (str): ``digits``; ``cifar10``, image files in ``data/cifar10_folder``; or a folder of
            images. One that holds the folders ``train`` and ``test`` is split so; of another all
            images serve for both. Folders of classes below give labels, for judging only.
        num_clusters (int, optional): K. Defaults to the number of classes.

    Raises:
        FileNotFoundError: If there is no such folder, or it holds no images.
        ValueError: If there are no labels and ``num_clusters`` is missing, or it is out of range.
    """
    kind, options = ('digits', {}) if name == 'digits' else ('lite0_rows', {})
    if kind == 'lite0_rows':
        folder = Path(_CIFAR10 if name == 'cifar10' else name)
        if not folder.is_dir():
            raise FileNotFoundError(
                f'--data {name}: there is no folder {folder}. Give digits, cifar10 (image files in '
                f'{_CIFAR10}/{{train,test}}/<class>) or a folder of images.'
            )
        split = all((folder / part).is_dir() for part in ('train', 'test'))
        options = dict(
            data_root=str(folder),
            train_prefix='train' if split else '',
            test_prefix='test' if split else '',
        )
    cfg = _tested_on_rows(read_config(_DATA[kind], options))
    held_out = kind == 'digits' or split
    images = open_images(cfg, 'test')
    num_train = len(open_images(cfg, 'train').names) if held_out else len(images.names)
    if num_clusters is None:
        if images.labels is None:
            raise ValueError(
                f'--data {name}: the images have no labels (folders of classes): say --num-clusters'
            )
        num_clusters = len(np.unique(images.labels))
    if not 2 <= num_clusters <= num_train:
        raise ValueError(
            f'--num-clusters must be between 2 and the {num_train} training images, got '
            f'{num_clusters}'
        )
    return Data(name, kind, options, images, num_train, held_out, num_clusters)


def plan_leaderboard(
    data: str,
    names: Sequence[str],
    seeds: int,
    out: str,
    quick: bool = False,
    num_clusters: Optional[int] = None,
) -> Leaderboard:
    """Lay out the runs, all mistakes first.

    Args:
        data (str): See :func:`open_data`.
        names (Sequence[str]): See :func:`choose_methods`. Methods whose results lie in ``out``
            stay in the table.
        seeds (int): Number of seeds.
        out (str): Folder of the runs, ``<out>/runs/<method>/seed<n>``, and of the table.
        quick (bool): Train a quarter of the epochs. Defaults to False.
        num_clusters (int, optional): K. Defaults to the number of classes.

    Raises:
        FileNotFoundError: If the folder of the images is not there.
        ValueError: If a method is not known, a config cannot be read, or ``out`` holds another
            leaderboard.
    """
    if seeds < 1:
        raise ValueError(f'the number of seeds must be at least 1, got {seeds}')
    kind = 'digits' if data == 'digits' else 'lite0_rows'
    known = find_methods(kind)
    methods = choose_methods(names, known)
    before = _check_same_board(Path(out), data, seeds, quick)
    opened = open_data(data, num_clusters)
    check_work_dir(out, '--out')
    lock_work_dir(out, '--out')
    named = {method.name for method in methods}
    earlier = [method for method in before if method.name not in named]
    methods += [known.get(method.name, method) for method in earlier]
    board = Leaderboard(opened, methods, [], {}, seeds, quick, Path(out))
    cfgs = {}
    for method in methods:
        reason = _why_not(method, opened, board.skipped)
        if reason is None:
            cfgs[method.name] = _read(method, opened, quick)
            reason = _why_not_here(cfgs[method.name])
            if method.own and method.name in named:
                _check_same_images(method, cfgs[method.name], opened)
        if reason is not None:
            board.skipped[method.name] = reason
    for seed in range(seeds):
        runs: Dict[str, BoardRun] = {}
        for method in methods:
            if method.name in board.skipped or method.name not in named:
                continue
            folder = board.out / 'runs' / method.name / f'seed{seed}'
            after, cfg = runs.get(method.pretext), deepcopy(cfgs[method.name])
            if after is not None:
                cfg = _read(method, opened, quick, after.last_checkpoint)
            cfg.merge_from_dict({'randomness.seed': seed})
            run = BoardRun(
                method.name, seed, method.config or '', cfg, folder, method, after,
                opened.num_clusters,
            )  # fmt: skip
            check_same_settings(run, '--out')
            runs[method.name] = run
        board.runs += runs.values()
    for run in board.runs:
        run.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(run.config_file, as_text(run.cfg))
    _write_state(board)
    return board


def _check_same_board(out: Path, data: str, seeds: int, quick: bool) -> List[Method]:
    """Refuse a folder that holds another leaderboard; returns the methods that it has."""
    file = out / 'leaderboard.json'
    if not file.is_file():
        if (out / 'runs').exists():
            raise ValueError(f'--out {out} holds runs, but no leaderboard.json: choose another')
        return []
    state = mmengine.load(file)
    for name, then, now in (
        ('data', state['data'], data),
        ('--quick', state['quick'], quick),
    ):
        if then != now:
            raise ValueError(
                f'--out {out} holds another leaderboard: {name} {then} there, {now} here. Choose '
                'another --out, or delete it.'
            )
    if seeds < state['seeds']:
        raise ValueError(
            f'--out {out} holds a leaderboard of {state["seeds"]} seeds, and --seeds {seeds} would '
            'leave results out. Give at least as many, or choose another --out.'
        )
    return [Method(**method) for method in state['methods']]


def _write_state(board: Leaderboard) -> None:
    """What the next call needs, until the results replace it."""
    file = board.out / 'leaderboard.json'
    state = mmengine.load(file) if file.is_file() else {}
    state.update(
        data=board.data.name,
        quick=board.quick,
        seeds=board.seeds,
        methods=[asdict(method) for method in board.methods],
    )
    dump_atomically(file, state, indent=2)


def _why_not(method: Method, data: Data, skipped: Dict[str, str]) -> Optional[str]:
    if method.config is None and method.estimator is None:
        return f'it has no config for this data (*_{data.kind}.py)'
    if method.pretext is not None and method.pretext in skipped:
        return f'it starts from {method.pretext}, which cannot run: {skipped[method.pretext]}'
    return None


def _check_same_images(method: Method, cfg: Config, data: Data) -> None:
    images = open_images(cfg, 'test')
    if not np.array_equal(images.names, data.images.names):
        raise ValueError(
            f'{method.config} is tested on {len(images.names)} images of its own, and the '
            f'leaderboard is of the {len(data.images.names)} of --data {data.name}: give it their '
            'test_dataloader'
        )


def _why_not_here(cfg: Config) -> Optional[str]:
    wrapper = (cfg.get('optim_wrapper') or {}).get('type')
    if wrapper == 'AmpOptimWrapper' and not torch.cuda.is_available():
        return 'it needs a GPU'
    return None


def _read(method: Method, data: Data, quick: bool, checkpoint: Optional[str] = None) -> Config:
    """The full config of a method; an estimator's is that of the data."""
    if method.estimator is not None:
        cfg = _tested_on_rows(read_config(_DATA[data.kind], data.options))
        cfg.estimator = method.estimator
        cfg.randomness = dict(seed=None)
        return cfg
    options = dict(data.options)
    if method.own:  # it may say itself where its data are
        options = {name: x for name, x in options.items() if _takes(method.config, name, x)}
    if _takes(method.config, 'num_clusters', data.num_clusters):  # a pretext has no clusters
        options['num_clusters'] = data.num_clusters
    if checkpoint is not None:
        # Of a frozen network inside the model, or of the whole model.
        inside = _takes(method.config, 'pretrained', checkpoint)
        options['pretrained' if inside else 'load_from'] = checkpoint
    if quick:
        epochs = read_config(method.config).get('epochs')
        if isinstance(epochs, int):
            options['epochs'] = max(1, epochs // _QUICK)
    return _tested_on_rows(read_config(method.config, options))


def _tested_on_rows(cfg: Config) -> Config:
    """What is tested on images whose rows are stored is tested on these: once passed is enough."""
    val = cfg.get('val_dataloader')
    if val and val.dataset.type == 'FeatureDataset':
        cfg.test_dataloader, cfg.test_evaluator = val, cfg.val_evaluator
    return cfg


def _takes(config: str, name: str, value) -> bool:
    try:
        read_config(config, {name: value})
    except ValueError:
        return False
    return True


def launch_run(run: BoardRun, device: Optional[str]) -> subprocess.Popen:
    """Start a run in a process of its own, on one GPU or on one thread of the CPU.

    Args:
        run (BoardRun): What to run. The output goes to ``console.log`` in its folder.
        device (str, optional): The GPU, or None for the CPU.
    """
    command = [sys.executable, '-m', 'cdc_mm.experiments', str(run.config_file)]
    command += ['--judge', str(run.num_clusters)]
    env = dict(os.environ)
    if device is None:
        # Networks so small are not faster on two; and one gives the same figures everywhere.
        env.update(OMP_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1', MKL_NUM_THREADS='1')
    else:
        env.update(CUDA_VISIBLE_DEVICES=device)
    with (run.folder / 'console.log').open('w') as log:
        return start_in_background(command, env, log)


def run_leaderboard(
    board: Leaderboard, slots: Sequence[Optional[str]], poll_seconds: float = 0.5
) -> List[BoardRun]:
    """Run what has no result yet, as many at a time as there are slots, and show how far it is.

    A run that fails is told and leaves the others alone, but for those that start from it. Given
    again, it is tried again.

    Args:
        board (Leaderboard): See :func:`plan_leaderboard`.
        slots (Sequence): The device of each: the name of a GPU, or None for the CPU.
        poll_seconds (float): Time between two looks at the processes.

    Returns:
        list: The runs that failed.

    Raises:
        SystemExit: If it is interrupted or told to end. The processes end first.
    """
    waiting = deque(run for run in board.runs if not run.finished)
    running: Dict[int, tuple] = {}  # slot -> process, run
    failed: List[BoardRun] = []
    status = _Status(board.runs, len(slots))

    def fail(run: BoardRun, reason: str) -> None:
        failed.append(run)
        dump_atomically(run.failure_file, dict(reason=reason))
        status.say(f'{run}: failed: {reason} (see {run.folder / "console.log"})')

    def next_run() -> Optional[BoardRun]:
        for run in list(waiting):
            if run.after in failed:
                waiting.remove(run)
                fail(run, f'it starts from {run.after.method.name}, whose run failed')
            elif run.after is None or run.after.finished:
                waiting.remove(run)
                return run
        return None

    # The processes must not outlive this one.
    handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while waiting or running:
            for slot, device in enumerate(slots):
                if slot not in running:
                    run = next_run()
                    if run is not None:
                        run.failure_file.unlink(missing_ok=True)
                        status.say(f'{run}: {"goes on" if run.done else "starts"}')
                        running[slot] = (launch_run(run, device), run)
            time.sleep(poll_seconds)
            for slot, (process, run) in list(running.items()):
                if process.poll() is None:
                    continue
                del running[slot]
                if process.returncode == 0 and run.finished:
                    status.say(f'{run}: {_in_words(mmengine.load(run.metrics_file))}')
                else:
                    fail(run, _reason(run, process.returncode))
            status.show([run for _, run in running.values()])
    except KeyboardInterrupt:
        raise SystemExit('stopped; the same command goes on from where it was') from None
    finally:
        signal.signal(signal.SIGTERM, handler)
        for process, _ in running.values():
            process.terminate()
        for process, _ in running.values():
            process.wait()
    return failed


def _reason(run: BoardRun, returncode: int) -> str:
    """The one line that a run ended with."""
    lines = [line for line in last_words(run).splitlines() if line.strip()]
    lines = [line for line in lines if 'CDC_MM_TRACEBACK=1' not in line]
    if lines and lines[0].startswith('error: '):
        return lines[0].removeprefix('error: ')
    if returncode < 0:
        return f'it was ended by {signal.Signals(-returncode).name}'
    return lines[-1].strip() if lines else f'it ended with status {returncode}'


def _in_words(result: dict) -> str:
    figures = [f'{name.upper()} {result[name]:.1f}' for name in ('acc', 'nmi', 'ari')
               if name in result] or [f'linear_cv {result["linear_cv"]:.1f}']  # fmt: skip
    return ', '.join([*figures, f'{result["seconds"]:.0f} s'])


class _Status:
    """Prints what happens, and between it how far the runs are and how long they will take."""

    def __init__(self, runs: List[BoardRun], slots: int) -> None:
        self.runs, self.slots = runs, slots
        self.last = time.monotonic()

    def say(self, text: str) -> None:
        done = sum(run.finished for run in self.runs)
        say(f'[{done}/{len(self.runs)}] {text}')

    def show(self, running: List[BoardRun]) -> None:
        now = time.monotonic()
        if not running or now - self.last < _STATUS_SECONDS:
            return
        self.last = now
        left = time_left(self.runs, self.slots)
        words = 'not known yet' if left is None else f'about {timedelta(seconds=round(left))}'
        at = ', '.join(f'{run} at {run.done}/{run.length}' for run in running)
        self.say(f'{at}; time left {words}')


def time_left(runs: Sequence[BoardRun], slots: int) -> Optional[float]:
    """Seconds that the runs will take yet: those of a method as long as its others, or as all.

    Args:
        runs (Sequence[BoardRun]): All of them.
        slots (int): How many run at a time.

    Returns:
        float: None if none has finished.
    """
    taken: Dict[str, list] = {}
    for run in runs:
        if run.finished:
            seconds = mmengine.load(run.metrics_file)['seconds']
            taken.setdefault(run.method.name, []).append(seconds)
    if not taken:
        return None
    mean = {name: np.mean(values) for name, values in taken.items()}
    other = np.mean(list(mean.values()))
    # What it takes to start and to judge is not in it.
    left = [
        (mean.get(run.method.name, other) + 10) * (1 - run.done / run.length)
        for run in runs
        if not run.finished
    ]
    return float(sum(left) / min(slots, max(len(left), 1)))
