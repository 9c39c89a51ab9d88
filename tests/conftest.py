import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

import cdc_mm  # noqa: F401  (registers the components)


@pytest.fixture(autouse=True)
def _scope_and_seed():
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    np.random.seed(0)
