import logging
import pickle
import weakref
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Callable, Optional, Set, Tuple

from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.engine import DefaultTrainer, default_setup, defaults
from detectron2.evaluation import COCOEvaluator, DatasetEvaluator, PascalVOCDetectionEvaluator
from detectron2.layers import Conv2d
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger
from torch import nn

from cdc_mm.atomic import dump_atomically
from cdc_mm.checkpoints import read_arrays, read_checkpoint
from cdc_mm.engine import Claim, naming_paths
from cdc_mm.errors import clear_errors, clear_run_errors

from . import roi_heads  # noqa: F401  (registers Res5ROIHeadsExtraNorm)
from .pictures import draw_detections

logger = logging.getLogger(__name__)

_STAGES = {'stem', 'res2', 'res3', 'res4', 'res5'}


class Trainer(DefaultTrainer):
    """detectron2's trainer with evaluation, which does not start from scratch unnoticed.

    Args:
        cfg (CfgNode): As of :func:`~cdc_mm.detection.config.load_config`.
    """

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__(cfg)
        # detectron2's own unpickles what it is given, and what last_checkpoint names.
        self.checkpointer = _Checkpointer(
            self._trainer.model, cfg.OUTPUT_DIR, trainer=weakref.proxy(self)
        )

    def resume_or_load(self, resume: bool = True) -> None:
        """Load the latest checkpoint of the output folder (``resume``) or ``MODEL.WEIGHTS``.

        Raises:
            ValueError: If the file cannot be read or fills less than the whole backbone, unless
                there is none and the config says ``FROM_SCRATCH``.
        """
        if resume and self.checkpointer.has_checkpoint():
            super().resume_or_load(resume=True)
            logger.info(f'Continuing at iteration {self.start_iter} of {self.max_iter}')
        elif not (self.cfg.FROM_SCRATCH and not self.cfg.MODEL.WEIGHTS):
            load_pretrained(self.checkpointer.model, self.cfg.MODEL.WEIGHTS)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
        """VOC's protocol for data sets in its layout, COCO's for all others."""
        if MetadataCatalog.get(dataset_name).evaluator_type == 'pascal_voc':
            return PascalVOCDetectionEvaluator(dataset_name)
        tasks = ('bbox', 'segm') if cfg.MODEL.MASK_ON else ('bbox',)
        return COCOEvaluator(dataset_name, tasks, output_dir=f'{cfg.OUTPUT_DIR}/inference')


def load_pretrained(model: nn.Module, filename: str) -> None:
    """Fill the backbone of a detector from a pretraining checkpoint, wholly or not at all.

    Args:
        model (nn.Module): A detector with a ResNet, C4 or FPN.
        filename (str): What detectron2 loads: a converted checkpoint or one of its model zoo.

    Raises:
        ValueError: If the file cannot be read, or fills less than the whole backbone.
    """
    missing = _load(model, filename)[1] if filename else set(model.state_dict())
    # Statistics may be missing: detectron2's own files hold them within weight and bias.
    parameters = {name for name, _ in model.named_parameters()} & missing
    convs = [
        name
        for name, module in model.named_modules()
        if isinstance(module, Conv2d) and module.norm is not None and _STAGES & {*name.split('.')}
    ]
    empty = [name for name in convs if any(p.startswith(f'{name}.') for p in parameters)]
    count = f"{len(convs) - len(empty)} of the backbone's {len(convs)} convolutions and norms"
    if empty:
        raise ValueError(
            f'{filename or "no checkpoint"} fills {count}; {empty[0]} and others would start '
            'from scratch. Give the checkpoint of a ResNet of the depth and width of the config '
            '(--pretrained), or train without one by a config with FROM_SCRATCH: True.'
        )
    logger.info(f'{count} come from {filename}')


def transfer(
    cfg: CfgNode,
    use_data: Optional[Callable[[CfgNode], None]],
    resume: bool,
    eval_only: bool,
    claim: Optional[Claim] = None,
) -> None:
    """Fine-tune and evaluate one detector, in each of the processes of a launch.

    The main process writes ``results.json`` into ``OUTPUT_DIR``: the seed, the number of
    iterations trained, and the metrics in percent; and ``detections.png``.

    Args:
        cfg (CfgNode): A full config.
        use_data (Callable): Registers data sets that detectron2 does not know, and enters them
            into the config.
        resume (bool): Whether to go on from the latest checkpoint in ``OUTPUT_DIR``.
        eval_only (bool): Whether to evaluate only: ``MODEL.WEIGHTS`` or else that checkpoint.
        claim (Claim, optional): To ``OUTPUT_DIR``, of a training.
    """
    with clear_errors():
        cfg = cfg.clone()
        if use_data is not None:
            use_data(cfg)
        if cfg.MODEL.DEVICE == 'cpu' and comm.get_world_size() > 1:
            _use_cpu_processes(cfg)
        for name in ('detectron2', 'fvcore', 'cdc_mm'):
            logging.getLogger(name).handlers.clear()  # of an earlier run in this process
        setup_logger.cache_clear()
        default_setup(cfg, Namespace(resume=resume, eval_only=eval_only))
        setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name='cdc_mm')
        with naming_paths({}, 'the config'):
            built = Trainer.build_model(cfg) if eval_only else Trainer(cfg)
        if eval_only:
            model, iterations = built, _load_detector(built, cfg)
        else:
            trainer = built
            trainer.resume_or_load(resume)
            if claim is not None and comm.is_main_process():
                claim.begin()
    with clear_run_errors():
        if eval_only:
            metrics = Trainer.test(cfg, model)
        else:
            trainer.train()
            metrics, iterations = trainer._last_eval_results, trainer.max_iter
            model = trainer.checkpointer.model
        if comm.is_main_process():
            result = dict(seed=cfg.SEED, iterations=iterations, metrics=metrics)
            dump_atomically(Path(cfg.OUTPUT_DIR, 'results.json'), result, indent=2)
            draw_detections(cfg, model, f'{cfg.OUTPUT_DIR}/detections.png')


class _Checkpointer(DetectionCheckpointer):
    """Runs nothing that is in a file, and remembers which weights of the model it did not fill."""

    def _load_file(self, filename):
        # What it downloads has become a local file here.
        if not filename.endswith('.pkl'):
            if filename.endswith('.pyth'):
                read_checkpoint(filename)
            return super()._load_file(filename)
        content = read_arrays(filename)  # in place of pickle.load; the rest is detectron2's
        if not isinstance(content, dict):
            raise ValueError(f'{filename} is damaged or no checkpoint: it holds no weights')
        if 'model' in content and '__author__' in content:
            return content
        blobs = content.get('blobs', content)
        blobs = {k: v for k, v in blobs.items() if not k.endswith('_momentum')}
        return dict(model=blobs, __author__='Caffe2', matching_heuristics=True)

    def _torch_load(self, filename):
        return read_checkpoint(filename)

    def _load_model(self, checkpoint):
        incompatible = super()._load_model(checkpoint)
        self.missing = set(incompatible.missing_keys)
        return incompatible


def _load(model: nn.Module, filename: str) -> Tuple[dict, Set[str]]:
    checkpointer = _Checkpointer(model)
    try:
        rest = checkpointer.load(filename)
    except (pickle.UnpicklingError, AttributeError, EOFError, KeyError, TypeError) as error:
        raise ValueError(f'{filename} is damaged or no checkpoint: {error}') from error
    return rest, checkpointer.missing


def _load_detector(model: nn.Module, cfg: CfgNode) -> Optional[int]:
    # Returns the number of iterations it was trained for, where the file says so.
    filename = (
        cfg.MODEL.WEIGHTS or DetectionCheckpointer(model, cfg.OUTPUT_DIR).get_checkpoint_file()
    )
    if not filename:
        raise FileNotFoundError(
            f'there is no fine-tuned detector in {cfg.OUTPUT_DIR} to evaluate: train it first, or '
            'name one by MODEL.WEIGHTS FILE'
        )
    rest, missing = _load(model, filename)
    if missing:
        raise ValueError(
            f'{filename} lacks {len(missing)} of the weights of this detector ({min(missing)}, '
            '...). Use the config and the data that it was trained with.'
        )
    return rest['iteration'] + 1 if 'iteration' in rest else None


def _use_cpu_processes(cfg: CfgNode) -> None:
    # SyncBN wants GPUs; its equal that runs on CPUs has the same names in checkpoints.
    for node in (cfg.MODEL.RESNETS, cfg.MODEL.FPN, cfg.MODEL.ROI_BOX_HEAD, cfg.MODEL.ROI_MASK_HEAD):
        if node.NORM == 'SyncBN':
            node.NORM = 'naiveSyncBN'
    # DistributedDataParallel accepts no device on CPUs. This process is this launch's own.
    defaults.create_ddp_model = partial(defaults.create_ddp_model, device_ids=None)
