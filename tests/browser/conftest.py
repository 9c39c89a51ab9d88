import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import chromium
import firefox

PAGES = {
    name: browser.Page
    for name, browser in dict(chromium=chromium, firefox=firefox).items()
    if browser.Page.find()
}


def pytest_configure():
    """Say so rather than skip the tests."""
    if not PAGES:
        raise pytest.UsageError(
            'no browser: install Chromium or Firefox, '
            'or set CHROMIUM or FIREFOX to the program of one'
        )


@pytest.fixture(scope='module', params=PAGES)
def browser(request, tmp_path_factory):
    """Each browser that is installed, one after the other."""
    page = PAGES[request.param](tmp_path_factory.mktemp('browser'))
    yield page
    page.close()
