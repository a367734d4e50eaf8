"""Names that nothing breaks, on the pages that show them: they break all the same, and nothing scrolls sideways."""

import pytest
from sqlalchemy import update

from collector.store import ShopRow
from tests import browser

NAME = "STARBUCKSRESERVEROASTERYHANGZHOUXIHUDISTRICTSHOPNO12"
PAGES = {"/": "li", "/tickets": "li", "/tickets/9": "li", "/shops": "li", "/tasks": "chen", "/tasks/9": "chen"}


@pytest.fixture(scope="module")
def named(filled):
    with filled.desk.store.writing() as session:
        session.execute(update(ShopRow).values(name=NAME))
    return filled


@pytest.mark.parametrize("size", [(320, 568), browser.NARROW])
@pytest.mark.parametrize("path", PAGES)
def test_a_long_name_breaks(visit, named, path, size):
    tab, page = visit(named, path, PAGES[path], size=size)
    page.get_by_text(NAME).first.wait_for()
    tab.check(axe=False)
    if path == "/tasks/9":
        assert page.locator("h1").bounding_box()["height"] < 100
