import functools
import gc
import http.server
import logging
import os
import threading

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

import cdc_mm  # noqa: F401  (registers the components)

if 'PYTEST_XDIST_WORKER' in os.environ:
    # Commands that a test calls are not measured: it would take them a third more time.
    os.environ.pop('COVERAGE_PROCESS_CONFIG', None)


@pytest.fixture(autouse=True)
def _scope_and_seed():
    init_default_scope('mmpretrain')
    # The log file of the test before, which may be closed or gone.
    logger = MMLogger.get_current_instance()
    for handler in logger.handlers[:]:
        if isinstance(handler, logging.FileHandler):
            logger.removeHandler(handler)
    torch.manual_seed(0)
    np.random.seed(0)
    # A config of the test before may have asked for it, for the whole process.
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


def pytest_collection_finish():
    """What is imported stays: mmengine looks for garbage with every data set that it opens."""
    gc.freeze()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Say nothing."""

    def send_header(self, name, value):
        if name == 'Content-Length' and 'short' in self.path:
            value = str(int(value) + 100)
        super().send_header(name, value)


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A folder and its address; no code that a test puts there may run."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    monkeypatch.delenv('CDC_MM_PWNED', raising=False)
    monkeypatch.delenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', raising=False)
    folder = tmp_path / 'served'
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(
        ('127.0.0.1', 0), functools.partial(Quiet, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()
    assert 'CDC_MM_PWNED' not in os.environ
