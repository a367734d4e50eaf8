"""What every page must hold, on each page in both languages, light and dark, on a desktop and on small phones."""

import pytest
from sqlalchemy import update

from collector.store import ShopRow
from tests import browser
from tests.collector.web import gallery

WAYS = [
    ("zh", "light", browser.DESKTOP),
    ("en", "dark", browser.PHONE),
    ("zh", "dark", browser.NARROW),
    ("en", "light", browser.NARROW),
]


@pytest.fixture(scope="module")
def center(tmp_path_factory):
    with gallery.center_of(tmp_path_factory.mktemp("gallery")) as center:
        yield center


@pytest.mark.parametrize(("language", "theme", "size"), WAYS)
@pytest.mark.parametrize("shown", list(gallery.pages()), ids=lambda one: one.name)
def test_a_page_has_no_fault(chromium, center, shown, language, theme, size):
    with browser.Tab(chromium, center, shown.person, size=size, language=language, theme=theme) as tab:
        page = shown.open(tab)
        if shown.path == "/nothing":
            # it is meant to be missing
            tab.forgive("404")
        tab.check()
        assert page.evaluate("document.documentElement.lang") == {"zh": "zh-CN", "en": "en"}[language]


def test_the_check_finds_what_it_looks_for(visit, center):
    tab, page = visit(center, "/tickets")
    tab.check()
    page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    with pytest.raises(AssertionError, match="button-name"):
        tab.check()
    wide = "position: absolute; top: 0; left: 0; width: 3000px; height: 1px"
    page.evaluate("(style) => document.body.append(Object.assign(document.createElement('b'), { style }))", wide)
    with pytest.raises(AssertionError, match="scrolls sideways"):
        tab.check()
    page.evaluate("document.querySelector('main').style.paddingTop = '400px'")
    page.wait_for_timeout(300)
    with pytest.raises(AssertionError, match="layout shift"):
        tab.check()
    # an inline script is refused by the content policy, and that is said on the console
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), { text: '1' }))")
    page.wait_for_timeout(100)
    with pytest.raises(AssertionError, match="Content Security Policy"):
        tab.check(axe=False)


NAME = "STARBUCKSRESERVEROASTERYHANGZHOUXIHUDISTRICTSHOPNO12"
PAGES = {"/": "li", "/tickets": "li", "/tickets/9": "li", "/shops": "li", "/tasks": "chen", "/tasks/9": "chen"}


@pytest.fixture(scope="module")
def named(filled):
    filled.desk.execute(update(ShopRow).values(name=NAME))
    return filled


@pytest.mark.parametrize("size", [(320, 568), browser.NARROW])
@pytest.mark.parametrize("path", PAGES)
def test_a_long_name_breaks(visit, named, path, size):
    tab, page = visit(named, path, PAGES[path], size=size)
    page.get_by_text(NAME).first.wait_for()
    tab.check(axe=False)
    if path == "/tasks/9":
        assert page.locator("h1").bounding_box()["height"] < 100
