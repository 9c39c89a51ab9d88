import gc
import logging

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

import cdc_mm  # noqa: F401  (registers the components)


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


def pytest_collection_finish():
    """What is imported stays: mmengine looks for garbage with every data set that it opens."""
    gc.freeze()
