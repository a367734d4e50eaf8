"""Languages: every sentence has its Chinese, a reader gets the language that they want, and reads dates their way."""

import ast
import re
from datetime import date
from html.parser import HTMLParser
from zoneinfo import ZoneInfo

import pytest

from collector.web import language
from collector.web.reader import Reader
from tests import town
from tests.collector.conftest import Desk
from tests.collector.exchange.test_street_page import settings
from tests.collector.web import gallery
from tests.people import browser, make_pages, sign_in
from tests.services import ROOT

AT_MS = 1_779_971_200_000  # 2026-05-28, 20:26:40 in Shanghai


def test_every_sentence_has_its_chinese_and_none_is_left():
    text, missing = language.updated()
    assert missing == []
    assert language.PO.read_text("utf-8") == text, "run: make catalog"


def test_placeholders_are_the_same_in_both_languages():
    for one in language.catalogue():
        if isinstance(one.id, str) and one.id:
            assert set(re.findall(r"%\(\w+\)\w", one.id)) == set(re.findall(r"%\(\w+\)\w", str(one.string))), one.id


def test_templates_and_scripts_have_no_chinese_of_their_own():
    """It belongs into the catalogue; the name of a language is in that language."""
    folder = ROOT / "collector" / "web"
    shop = folder.parent / "notices" / "shop"
    for path in [*(folder / "templates").glob("*.html"), *(folder / "static").glob("*.js"), *shop.glob("*")]:
        text = path.read_text("utf-8").replace("中文", "")
        assert re.findall("[一-鿿]+", text) == [], path.name


SHOWN = ("OrderError", "RegisterError", "PeopleError", "NotAllowedError", "PasswordError", "WrongError", "BusyError")
"""Refusals of other rooms that pages show as they are."""


def test_what_pages_refuse_is_said_in_both_languages():
    found = []
    for path in (ROOT / "collector").rglob("*.py"):
        if "commands" in path.name or path.name == "first.py":
            continue  # of the command line
        for one in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(one, ast.Call) and getattr(one.func, "id", "") in SHOWN and one.args:
                said = "".join(str(part.value) for part in ast.walk(one.args[0]) if isinstance(part, ast.Constant))
                if re.search("[a-z]", said) and not re.search("[一-鿿].* / ", said):
                    found.append(f"{path.name}:{one.lineno} {said}")
    assert found == []


class Seen(HTMLParser):
    """What a reader sees of a page, but for code and what is marked as English: a box's own words."""

    def __init__(self, html):
        super().__init__()
        self.inside, self.texts = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        hides = tag in ("script", "style", "code") or given.get("lang") == "en"
        if not any(hides for _, hides in self.inside):
            self.texts += [given.get(name) or "" for name in ("title", "aria-label", "placeholder", "alt")]
        if tag not in ("meta", "link", "img", "input", "br", "rect", "path", "circle", "polygon"):
            self.inside.append((tag, hides))

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if not any(hides for _, hides in self.inside):
            self.texts.append(data)


def test_no_chinese_page_has_an_english_sentence(tmp_path):
    desk = Desk(tmp_path)
    town.fill(desk, pictures=False)
    app = make_pages(desk, settings=settings())
    found = []
    for shown in gallery.pages():
        path, client = shown.path, browser(app)
        if shown.act is not None:
            continue  # a form leads to it
        if shown.person is not None:
            sign_in(desk.store, shown.person, client)
        for name in language.LANGUAGES:
            answer = client.get(path, headers={"accept-language": name, "accept": "text/html"})
            assert answer.status_code == (404 if path == "/nothing" else 200), path
            assert "person:" not in answer.text or path == "/audit", path  # names instead
            if name == "zh":
                texts = Seen(answer.text).texts
                found += [(path, one) for one in texts if re.search(r"([A-Za-z']{2,}[ ,:]+){3}[A-Za-z']{2}", one)]
    assert found == []
    desk.store.close()


@pytest.mark.parametrize(
    ("asked", "kept", "accepts", "expected"),
    [
        (None, None, "", "zh"),
        (None, None, "en-GB,en;q=0.9", "en"),
        (None, None, "en;q=0.5,zh-CN;q=0.8", "zh"),
        (None, None, "de,fr;q=0.9", "zh"),
        (None, None, "de,en;q=0.3", "en"),
        (None, None, "en,zh", "en"),  # equals: the first one
        (None, None, "en;q=nan, ;;q=, zh;q=1.0.0", "zh"),
        (None, "en", "zh-CN", "en"),
        ("zh", "en", "en", "zh"),
        ("de", "xx", "en", "en"),
    ],
)
def test_the_address_goes_before_the_choice_before_the_browser(asked, kept, accepts, expected):
    assert language.wanted(asked, kept, accepts) == expected


@pytest.mark.parametrize(
    ("text", "zh", "en"),
    [
        (("店", "shop"), "店", "shop"),
        ("请先登录 / sign in first", "请先登录", "sign in first"),
        ("Board", "待办看板", "Board"),
        ("box-1 / cam-1 / front", "box-1 / cam-1 / front", "box-1 / cam-1 / front"),
        ("no such sentence", "no such sentence", "no such sentence"),
        ("", "", ""),
    ],
)
def test_a_text_is_said_in_the_readers_language(text, zh, en):
    assert (language.say(text, "zh"), language.say(text, "en")) == (zh, en)


@pytest.mark.parametrize(
    ("form", "value", "zh", "en"),
    [
        ("moment", AT_MS, "2026年5月28日 20:26:40", "28 May 2026, 20:26:40"),
        ("moment", 10**17, "100000000000000000 ms", "100000000000000000 ms"),  # of no year that there is
        ("moment", None, "", ""),
        ("short", AT_MS - 3_600_000, "19:26:40", "19:26:40"),
        ("short", AT_MS - 86_400_000, "5月27日 20:26", "27 May, 20:26"),
        ("short", AT_MS - 400 * 86_400_000, "2025年4月23日 20:26", "23 Apr 2025, 20:26"),
        ("day", AT_MS, "2026年5月28日", "28 May 2026"),
        ("date", "2026-10-01", "2026年10月1日", "1 Oct 2026"),
        ("date", date(2026, 10, 1), "2026年10月1日", "1 Oct 2026"),
        ("date", "someday", "someday", "someday"),
        ("span", 0, "0秒", "0 secs"),
        ("span", 59_999, "59秒", "59 secs"),
        ("span", 3_600_000 + 61_000, "1小时 1分钟", "1 hr 1 min"),
        ("span", 90_000_000, "1天 1小时", "1 day 1 hr"),
        ("since", AT_MS + 5000, "0秒", "0 secs"),  # a clock that is ahead
        ("number", 12345.5, "12,345.5", "12,345.5"),
        ("percent", 0.88, "88%", "88%"),
    ],
)
def test_values_are_written_as_their_readers_have_them(form, value, zh, en):
    for name, expected in (("zh", zh), ("en", en)):
        reader = Reader(name, ZoneInfo("Asia/Shanghai"), lambda: AT_MS)
        assert getattr(reader, form)(value) == expected


def test_a_choice_is_kept_in_a_cookie_and_shown_at_once(tmp_path):
    desk = Desk(tmp_path)
    client = browser(make_pages(desk))
    assert '<html lang="zh-CN" data-theme="auto">' in client.get("/tickets").text
    assert '<html lang="en" data-theme="auto">' in client.get("/tickets?lang=en").text
    assert '<html lang="en" data-theme="dark">' in client.get("/tickets?theme=dark").text
    assert '<html lang="en" data-theme="dark">' in client.get("/tickets").text
    assert '<html lang="en" data-theme="dark">' in client.get("/tickets?lang=%22&theme=x").text
    desk.store.close()
