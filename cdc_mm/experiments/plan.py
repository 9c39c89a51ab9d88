"""Which runs a chain of configs has over several seeds, checked before the first of them starts."""

import difflib
import json
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from pprint import pformat
from typing import List, Optional, Sequence, Union

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS, HOOKS, MODELS
from torch import nn

from cdc_mm.atomic import write_atomically
from cdc_mm.checkpoints import (
    check_backbone,
    check_checkpoint,
    check_weights,
    fit_backbone,
    pick_backbone,
)
from cdc_mm.console import say
from cdc_mm.engine import check_keys, check_processes, naming_paths, read_config
from cdc_mm.engine.hooks import PretrainedBackboneHook, check_pretrained_backbone

# By which figure without labels the best run is chosen: the one whose order of runs was most like
# that of ACC (docs/results.md).
SELECT_BY = 'clustering/linear_cv'


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
    def predictions_file(self) -> Path:
        """The cluster of each test image, if a clusterer was tested; see :class:`DumpClusters`."""
        return self.folder / 'predictions.npz'

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
    configs: Sequence[str],
    num_seeds: int,
    work_dir: str,
    cfg_options: Union[dict, Sequence[dict], None] = None,
    processes: int = 1,
    select: bool = False,
) -> List[List[StageRun]]:
    """Lay out the runs of a chain of configs over the seeds 0 to ``num_seeds`` - 1.

    The runs of a chain's first stages are found under the same names by every chain that starts
    with them, and are trained once. All stages are checked first: model and data are built, and
    what a stage starts from must fit it. A stage whose model predicts nothing, a pretext, is
    trained and not tested; it cannot be the last one.

    Args:
        configs (Sequence[str]): The stages in order. From the second on, a stage's ``load_from``
            becomes the last checkpoint of the stage before.
        num_seeds (int): Number of seeds.
        work_dir (str): The root of all runs: ``<work_dir>/<stage>/seed<n>``.
        cfg_options (dict | Sequence[dict], optional): Changes to the configs of all stages, or of
            each. A name without a dot that only some of the stages have is for those.
        processes (int): Number of processes that will train each run. Defaults to 1.
        select (bool): Whether one run of the last stage will be chosen. Defaults to False.

    Returns:
        list: For each seed, its runs in order.

    Raises:
        FileNotFoundError: If a config, data or the checkpoint that the first stage starts from is
            missing.
        ValueError: If a stage cannot be built, the last one cannot be tested, a stage does not fit
            the one before, runs were started with other settings, or nothing would say which run
            is the best.
    """
    if num_seeds < 1:
        raise ValueError(f'the number of seeds must be at least 1, got {num_seeds}')
    chains = []
    stage_cfgs = _read_stages(configs, cfg_options)
    for seed in range(num_seeds):
        chain, stage = [], ''
        for config, stage_cfg in zip(configs, stage_cfgs, strict=True):
            stage += ('+' if stage else '') + Path(config).stem
            folder = Path(work_dir) / stage / f'seed{seed}'
            cfg = deepcopy(stage_cfg)
            cfg.merge_from_dict({'randomness.seed': seed})
            run = StageRun(stage, seed, str(config), cfg, folder)
            check_same_settings(run)
            chain.append(run)
        chains.append(chain)
    if select:
        _check_select(chains[0][-1])
    if not all(run.metrics_file.is_file() for run in chains[0]):
        _check_chain(chains[0], processes)
    for run in (run for chain in chains for run in chain):
        run.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(run.config_file, as_text(run.cfg))
    return chains


def why_untestable(cfg: Config, model: nn.Module) -> Optional[str]:
    """Why a stage would only be trained, in words; None if it can be tested.

    Args:
        cfg (Config): Its full config.
        model (nn.Module): What it builds.
    """
    missing = [x for x in ('test_dataloader', 'test_evaluator', 'test_cfg') if cfg.get(x) is None]
    if missing:
        return f'has no {missing[0]}, which evaluates each seed'
    if not hasattr(model, 'predict'):
        return f'is a pretext: {type(model).__name__} predicts nothing that could be tested'
    return None


def _read_stages(
    configs: Sequence[str], cfg_options: Union[dict, Sequence[dict], None]
) -> List[Config]:
    if cfg_options is None or isinstance(cfg_options, dict):
        cfg_options = [cfg_options or {}] * len(configs)
    for key in {key for options in cfg_options for key in options}:
        if key == 'randomness' or key.startswith('randomness.seed'):
            raise ValueError(
                f'{key} is set by the number of each seed: with one for all, they would be the '
                'same run. Leave it out; --seeds says how many.'
            )
    cfgs, refused = [], []
    for config, options in zip(configs, cfg_options, strict=True):
        try:
            cfgs.append(read_config(config, options))
        except ValueError as error:
            if len(configs) == 1:
                raise
            own, others = _split(config, options)
            if not others:
                raise error
            refused.append(others)
            cfgs.append(read_config(config, own))
    for errors in refused:
        for key, error in errors.items():
            if sum(key in others for others in refused) == len(configs):
                raise error
    return cfgs


def _split(config: str, options: dict) -> tuple:
    """Options that a config takes, and for the names that it does not take why."""
    read_config(config)  # what is wrong without any option is not their fault
    own, refused = {}, {}
    for key, value in options.items():
        try:
            read_config(config, {key: value})
            own[key] = value
        except ValueError as error:
            if '.' in key:
                raise
            refused[key] = error
    return own, refused


def _check_select(run: StageRun) -> None:
    evaluator = run.cfg.get('test_evaluator')
    metrics = evaluator if isinstance(evaluator, (list, tuple)) else [evaluator or {}]
    if not any(metric.get('type') == 'ClusteringMetric' for metric in metrics):
        raise ValueError(
            f'--select goes by {SELECT_BY}, and the test_evaluator of {run.config} has no '
            'ClusteringMetric: only runs that find clusters can be chosen so.'
        )


def as_text(cfg: Config) -> str:
    """A full config as the text of a file that has it."""
    # Config.pretty_text takes a second.
    return ''.join(
        f'{name} = {pformat(value, width=99, sort_dicts=False)}\n'
        for name, value in cfg.to_dict().items()
    )


def check_same_settings(run: StageRun, flag: str = '--work-dir') -> None:
    """Refuse to go on with a run that was started with another config.

    Args:
        run (StageRun): The run.
        flag (str): What the tool calls the folder of all runs. Defaults to ``--work-dir``.

    Raises:
        ValueError: If it was; names the lines that differ.
    """
    if not run.config_file.is_file():
        return
    before, now = run.config_file.read_text().splitlines(), as_text(run.cfg).splitlines()
    changes = [x for x in difflib.unified_diff(before, now, n=0) if not x.startswith(('@@', '--'))]
    if changes:
        raise ValueError(
            f'{run.folder} was run with other settings (- then, + now):\n  '
            + '\n  '.join(changes[1:7])
            + f'\nGo on with the same ones, choose another {flag}, or delete that folder and '
            f'{run.config_file}.'
        )


def _check_chain(chain: List[StageRun], processes: int) -> None:
    """Build models and data once, so that a mistake in the last stage shows before the first."""
    before = None
    for run in chain:
        cfg = deepcopy(run.cfg)  # what is built from a config may enter things into it
        init_default_scope(cfg.get('default_scope', 'mmpretrain'))
        check_keys(cfg)
        preprocessor = cfg.get('data_preprocessor')
        sections = dict(model=cfg.model, data_preprocessor=preprocessor)
        with naming_paths(sections, f'{run.config}: model'):
            model = MODELS.build(
                cfg.model,
                default_args=dict(data_preprocessor=preprocessor) if preprocessor else None,
            )
        untestable = why_untestable(cfg, model)
        if run is chain[-1] and untestable:
            raise ValueError(
                f'{run.config} {untestable}. Append a config that evaluates it, such as those in '
                'configs/linear/.'
            )
        for split in ['train_dataloader'] + ([] if untestable else ['test_dataloader']):
            with naming_paths({split: cfg[split]}, split):
                DATASETS.build(cfg[split].dataset)
        for warning in check_processes(cfg, model, processes):
            say(f'{run.config}: {warning}')
        _check_start(run, model, before)
        before = run, model.state_dict()


def _check_start(run: StageRun, model: nn.Module, before: Optional[tuple]) -> None:
    """Refuse a stage that could not start from the stage before, or the first from its file."""
    hooks = [HOOKS.get(hook['type']) for hook in run.cfg.get('custom_hooks') or []]
    on_backbone = PretrainedBackboneHook in hooks
    if before is None:
        load_from = run.cfg.get('load_from')
        if on_backbone:
            check_pretrained_backbone(model, load_from)
        elif load_from is not None:
            check_checkpoint(model, load_from, 'init')
        return
    source, state = before
    name = f'{run.config} starts from {source.config}, whose checkpoint'
    if (source.cfg.get('default_hooks') or {}).get('checkpoint', True) is None:
        raise ValueError(f'{name} is never saved: it has no default_hooks.checkpoint')
    if on_backbone:
        weights = fit_backbone(pick_backbone(state, name), model.backbone)
        check_backbone(model.backbone, weights, name)
    else:
        check_weights(model, state, name, 'init')
