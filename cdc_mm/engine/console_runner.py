import logging
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Iterator, Optional, Union

import torch
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from torch import nn

from cdc_mm import console
from cdc_mm.memory import keep_freed_memory
from cdc_mm.wrappers import unwrap_model

from .hooks import ProgressHook

# What the libraries below say goes to the log file, but for their warnings.
_HOSTS = tuple(
    str(Path(find_spec(name).origin).parent) for name in ('mmengine', 'mmcv', 'mmpretrain')
)
# Warnings about their own code, which no user can mend, by how they start.
_OF_NO_USE = ('"FileClient" will be deprecated', '"HardDiskBackend" is the alias')


class ConsoleRunner(Runner):
    """mmengine's runner with a console that people read; the log file has everything.

    On the console are this package's lines, warnings and the lines of :class:`ProgressHook`.
    With ``CDC_MM_VERBOSE=1`` it is as mmengine has it.

    Two lines of a config make networks faster, or not, depending on the machine
    (docs/performance.md): ``memory_format = 'channels_last'`` lays out their weights so, and with
    them what is computed; ``compile = True``, or a dict of ``torch.compile``'s arguments, compiles
    the backbones. Checkpoints are the same with and without.
    """

    def setup_env(self, env_cfg: dict) -> None:
        """Silence warnings that nobody can act on; keep freed memory on a CPU."""
        console.silence()
        keep_freed_memory()
        super().setup_env(env_cfg)

    def build_model(self, model: Union[nn.Module, dict]) -> nn.Module:
        """Build the model, in the memory format of the config.

        Raises:
            ValueError: If there is no such format.
        """
        memory_format = self.cfg.get('memory_format')
        if memory_format not in (None, 'channels_last'):
            raise ValueError(
                f"memory_format must be 'channels_last' or left out, got {memory_format!r}"
            )
        model = super().build_model(model)
        return model.to(memory_format=torch.channels_last) if memory_format else model

    def _init_model_weights(self) -> None:
        """Draw the same weights in any memory format: numbers are drawn in the order of memory."""
        if not self.cfg.get('memory_format'):
            super()._init_model_weights()
            return
        self.model.to(memory_format=torch.contiguous_format)
        super()._init_model_weights()
        self.model.to(memory_format=torch.channels_last)

    def _maybe_compile(self, target: str) -> None:
        """Compile the backbones; mmengine would the whole step, and again for each new loss."""
        options = self.cfg.get('compile')
        if not options:
            return
        options = {} if options is True else dict(options)
        for name, module in unwrap_model(self.model).named_modules():
            if name.rpartition('.')[2] == 'backbone':
                module.compile(**options)  # in place: torch.compile would rename its weights
        self.logger.info('The backbones are compiled: the first iterations take long.')

    def build_logger(self, *args, **kwargs) -> MMLogger:
        """Give mmengine's logger another handler for the console."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                # Else each line that finds the disk full prints a traceback. The run itself ends
                # where it writes next.
                handler.handleError = lambda record: None
        if not console.is_verbose():
            logger.handlers[:] = [
                ConsoleHandler(handler.level) if type(handler) is logging.StreamHandler else handler
                for handler in logger.handlers
            ]
        return logger

    def register_hooks(
        self, default_hooks: Optional[dict] = None, custom_hooks: Optional[list] = None
    ) -> None:
        """Register the hooks of the config, and :class:`ProgressHook`."""
        super().register_hooks(default_hooks, custom_hooks)
        if not console.is_verbose():
            self.register_hook(ProgressHook())

    def load_or_resume(self) -> None:
        """Load as mmengine does, without what it prints: ``check_checkpoint`` has said what fits.

        It would print on each rank, and of a checkpoint of a backbone that the rest is missing.
        """
        with console.without_lines('Loads checkpoint by', 'The model and loaded state dict'):
            super().load_or_resume()


@contextmanager
def warnings_only() -> Iterator[None]:
    """Of what is logged meanwhile outside a run, show the warnings alone."""
    logger = MMLogger.get_current_instance()
    before = logger.handlers[:]
    if not console.is_verbose():
        logger.handlers[:] = [
            ConsoleHandler(logging.WARNING) if type(h) is logging.StreamHandler else h
            for h in before
        ]
    try:
        yield
    finally:
        logger.handlers[:] = before


def show_warnings_only(runner: Runner) -> None:
    """Bring of what a run logs the warnings alone to the console, and not where the log is."""
    for handler in runner.logger.handlers:
        if isinstance(handler, ConsoleHandler):
            handler.setLevel(logging.WARNING)
    for hook in runner.hooks:
        if isinstance(hook, ProgressHook):
            hook.log_told = True


class ConsoleHandler(logging.Handler):
    """Prints what is meant for a person, each line once.

    Our own lines go to the file alone if they are logged with ``extra=dict(file_only=True)``.
    """

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._seen = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is shown."""
        text = record.getMessage()
        if getattr(record, 'file_only', False):
            return False
        if record.levelno < logging.WARNING and record.pathname.startswith(_HOSTS):
            return False
        if text in self._seen or text.startswith(_OF_NO_USE):
            return False
        self._seen.add(text)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        kind = f'{record.levelname.lower()}: ' if record.levelno >= logging.WARNING else ''
        console.say(kind + record.getMessage())
