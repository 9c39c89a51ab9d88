import logging
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Iterator, Optional

from mmengine.logging import MMLogger
from mmengine.runner import Runner

from cdc_mm import console
from cdc_mm.memory import keep_freed_memory

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
    """

    def setup_env(self, env_cfg: dict) -> None:
        """Silence warnings that nobody can act on; keep freed memory on a CPU."""
        console.silence()
        keep_freed_memory()
        super().setup_env(env_cfg)

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
