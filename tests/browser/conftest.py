import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from chromium import find_chromium


def pytest_configure():
    """Say so rather than skip the tests."""
    if find_chromium() is None:
        raise pytest.UsageError('no Chromium: install it, or set CHROMIUM to its program')
