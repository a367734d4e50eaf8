"""A filled center and a browser, for tests of pages."""

import pytest

from tests import browser, town
from tests.collector.conftest import Desk


@pytest.fixture(scope="module")
def chromium():
    # no longer: tests elsewhere begin a Playwright of their own, and a process has one at a time
    with browser.chromium() as found:
        yield found


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A running center as of `tests/town.py`, one for a module; tests that change it use another ticket each."""
    folder = tmp_path_factory.mktemp("center") / "data"
    folder.mkdir()
    desk = Desk(folder)
    town.fill(desk)
    with browser.Center(desk) as center:
        yield center
    desk.store.close()
