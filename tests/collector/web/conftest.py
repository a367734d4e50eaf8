"""A filled center and a browser, for tests of pages."""

import contextlib

import pytest

from tests import browser, town
from tests.collector.conftest import Desk

KEPT = contextlib.ExitStack()
FOUND = []


@pytest.fixture(scope="module")
def chromium():
    """One for all modules of this folder that follow each other."""
    if not FOUND:
        FOUND.append(KEPT.enter_context(browser.chromium()))
    return FOUND[0]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    # tests elsewhere have a Playwright or a loop of their own; a thread has one at a time
    if FOUND and (nextitem is None or nextitem.path.parent != item.path.parent):
        FOUND.clear()
        KEPT.close()


@pytest.fixture
def visit(chromium):
    """Opens a page of a center in a tab of its own, as a person sees it; gives both."""
    with contextlib.ExitStack() as stack:

        def visit(center, path, person="li", **options):
            tab = stack.enter_context(browser.Tab(chromium, center, person, **options))
            return tab, tab.page if path is None else tab.open(path)

        yield visit


@contextlib.contextmanager
def running(folder, prepare=town.fill, **options):
    """A running center in a folder, on a desk that was prepared; `made` is what that gave."""
    (folder / "data").mkdir()
    desk = Desk(folder / "data")
    made = prepare(desk)
    with browser.Center(desk, **options) as center:
        center.made = made
        yield center
    desk.store.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A running center as of `tests/town.py`, one for a module; tests that change it use another ticket each."""
    with running(tmp_path_factory.mktemp("center")) as center:
        yield center
