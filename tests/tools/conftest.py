import importlib.util
import itertools
import sys

import pytest
from helpers import CONFIG, ROOT, SMALL, run_tool

_count = itertools.count()


@pytest.fixture
def call(monkeypatch):
    """Run a tool's main() in this process."""

    def run(tool, *args, options=()):
        """``options`` are given to --cfg-options; None leaves it out."""
        monkeypatch.syspath_prepend(ROOT / 'tools')  # as Python does for a script
        spec = importlib.util.spec_from_file_location(tool, ROOT / 'tools' / f'{tool}.py')
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, tool, module)  # found again by processes it starts
        spec.loader.exec_module(module)
        argv = [tool, *map(str, args)]
        if options is not None:
            argv += ['--cfg-options', f'experiment_name=call{next(_count)}', *options]
        monkeypatch.setattr(sys, 'argv', argv)
        monkeypatch.chdir(ROOT)
        module.main()

    return run


@pytest.fixture(scope='session')
def trained(tmp_path_factory):
    """Two epochs of training: the work dir and what the tool printed."""
    work_dir = tmp_path_factory.mktemp('train')
    done = run_tool(
        'tools/train.py', CONFIG, '--work-dir', work_dir, '--cfg-options', *SMALL,
        'train_cfg.max_epochs=2',
    )  # fmt: skip
    return work_dir, done.stdout + done.stderr
