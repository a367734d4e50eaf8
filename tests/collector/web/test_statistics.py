"""Statistics: each number is the indicator behind it, and leads to as many tickets; days without data are none."""

import html
import io
import re
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from random import Random
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from pypdf import PdfReader
from sqlalchemy import select

from collector.indicators import footfall, keeping, statistics
from collector.indicators.definitions import COUNTS, MINUTES, SHARES
from collector.indicators.figures import Loaded, Period
from collector.people import rights
from collector.settings import CenterSection
from collector.store import Ticket, write
from collector.web import app as web
from collector.web import plots
from collector.web.live import Changes
from protocol.messages import ZoneCount
from tests import browser
from tests.bench import million
from tests.bench.million import NOW, ZONE
from tests.collector.conftest import Desk
from tests.collector.web.conftest import running
from tests.people import make_gate, make_person, sign_in

OCTOBER = "from=2026-10-01&to=2026-10-31"
BERLIN = ZoneInfo("Europe/Berlin")


class Tables(HTMLParser):
    """All tables of a page as rows of texts; links of cells in `links`, with their texts."""

    def __init__(self, text):
        super().__init__()
        self.found, self.links, self.cell, self.href = [], [], None, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self.found.append([])
        elif tag == "tr":
            self.found[-1].append([])
        elif tag in ("th", "td"):
            self.cell = ""
        elif tag == "a":
            self.href, self.said = dict(attrs).get("href"), ""

    def handle_data(self, data):
        if self.cell is not None:
            self.cell += data
        if self.href is not None:
            self.said += data

    def handle_endtag(self, tag):
        if tag in ("th", "td"):
            self.found[-1][-1].append(self.cell.strip())
            self.cell = None
        elif tag == "a" and self.href is not None:
            self.links.append((self.href, self.said.strip()))
            self.href = None


class Center:
    """A center whose clock stands still, and a client of its pages."""

    def __init__(self, folder, zone=ZONE, now=NOW, url=None):
        folder.mkdir()
        self.desk, self.now, self.zone = Desk(folder, url), now, zone
        self.client = None

    def __enter__(self):
        store = self.desk.store
        for name, grant in (("lead", "viewer@*"), ("near", "viewer@s-1")):
            make_person(store, name, grant)
        patched = pytest.MonkeyPatch()
        patched.setattr(web, "now_ms", lambda: round(self.now.timestamp() * 1000))
        health = web.Health(lambda: True, lambda: True)
        section = CenterSection(id="demo", name="示例街道", timezone=self.zone.key)
        app = web.make_app(section, store, self.desk.files, Changes(), health, gate=make_gate(store))
        patched.undo()
        self.client = TestClient(app, base_url="http://127.0.0.1")
        return self

    def __exit__(self, *_):
        self.desk.store.close()

    def put(self, *opened):
        """Closed tickets that appeared at these times."""
        self.desk.write(million._around)
        made = [[] for _ in million.TABLES]
        for number, at in enumerate(opened, 1):
            rows = million._ticket(number, round(at.timestamp() * 1000), Random(number), goes_on=False)
            for kept, more in zip(made, rows, strict=True):
                kept.extend(more)
        with self.desk.store.writing() as session:
            for table, rows in zip(million.TABLES, made, strict=True):
                write(session, table, rows)

    def ask(self, path, person="lead", code=200):
        """Its answer."""
        sign_in(self.desk.store, person, self.client)
        answer = self.client.get(path)
        assert answer.status_code == code, answer.text[:300]
        return answer

    def book(self, query):
        """The workbook of what is asked for."""
        return openpyxl.load_workbook(io.BytesIO(self.ask(f"/statistics.xlsx?{query}").content))


@pytest.fixture(scope="module")
def center(tmp_path_factory):
    with Center(tmp_path_factory.mktemp("statistics") / "data") as center:
        million.fill(center.desk.store, 1500, Random(5))
        with center.desk.store.writing() as session:
            for quarter in range(8):
                count = ZoneCount(camera="cam-1", zone="square", looks=10, mean=quarter, most=quarter + 2)
                at_ms = round((NOW.timestamp() - 86_400 + quarter * 900) * 1000)
                footfall.take(session, "box-0", [count], at_ms)
        yield center


def written(one, figures):
    """An indicator as it should be read: the second implementation of how numbers are written."""
    if one in COUNTS:
        return [str(figures["counts"][one.name])]
    if one in SHARES:
        found = figures["shares"][one.name]
        value = "–" if found["value"] is None else f"{100 * found['value']:.1f}%"
        return [value, str(found["part"]), str(found["whole"])]
    found = figures["minutes"][one.name]
    times = ["–" if found[name] is None else f"{found[name]:,.1f}" for name in ("median", "p90")]
    return [*times, str(found["tickets"])]


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("name", ["reported", "valid_rate", "to_clear"])
def test_every_number_is_the_indicator_behind_it(center, name, language):
    page = center.ask(f"/statistics?{OCTOBER}&measure={name}&lang={language}").text
    one = statistics.INDICATORS[name]
    asked = {
        by: center.ask(f"/api/indicators?{OCTOBER}&by={by}").json()
        for by in ("day", "weekday_hour", "hour", "weekday", *statistics.SPLITS)
    }
    parts = {by: {part["key"]: part for part in found["parts"]} for by, found in asked.items()}
    for every in (COUNTS, SHARES, MINUTES):
        for each in every:
            words = big(each.words[0 if language == "zh" else 1])
            entry = re.search(rf'>{re.escape(words)}</a><span class="big">(.*?)</li>', page, re.DOTALL)[1]
            told = re.findall(r"–|\d[\d,.]*%?", re.sub(r"<[^>]+>", " ", entry.replace("9 of 10", "")))
            assert told == written(each, asked["day"]["all"]), each.name
    time, heat, *rest = Tables(page).found
    assert [row[1:] for row in time[1:]] == [written(one, part) for part in parts["day"].values()]
    for hour, row in enumerate(heat[1:25]):
        for day, cell in enumerate(row[1:8]):
            near(cell, written(one, parts["weekday_hour"][f"{day + 1}-{hour:02}"])[0])
        near(row[8], written(one, parts["hour"][f"{hour:02}"])[0])
    for day, cell in enumerate(heat[25][1:8]):
        near(cell, written(one, parts["weekday"][str(day + 1)])[0])
    near(heat[25][8], written(one, asked["day"]["all"])[0])
    groups = [rows for rows in rest if rows[0][0].lower() in ("street", "shop", "街道", "店铺")]
    for by, rows in zip(("street", "shop"), groups, strict=False):
        named = {part["name"]: part for part in asked[by]["parts"]}
        assert len(rows) > 2
        for row in rows[1:]:
            assert row[1:] == written(one, named[row[0]]), row


def big(text):
    return text[0].upper() + text[1:]


def near(short, exact):
    """A cell of the heat map says the same in fewer signs."""
    if exact == "–" or not short:
        assert (short, exact) == ("", "–")
    else:
        exact_value, said = (float(text.strip("%").replace(",", "")) for text in (exact, short))
        assert said == pytest.approx(exact_value, abs=0.55)


@pytest.mark.parametrize("name", ["reported", "soft_rate", "to_notice"])
def test_each_number_leads_to_as_many_tickets(center, name):
    page = center.ask(f"/statistics?{OCTOBER}&measure={name}&lang=en").text
    behind = [one for one in Tables(page).links if one[0].startswith("/statistics/tickets") and one[1].isdecimal()]
    if name != "reported":  # the heat map has shares and minutes; the tickets behind them stand in a title
        behind = [one for one in behind if "weekday=" not in one[0] and "hour=" not in one[0]]
        cells = re.findall(r'title="(?:\d+ / )?(\d+)"><a href="([^"]+)"', page)
        behind += [(html.unescape(href), said) for said, href in cells]
    assert len(behind) > 100
    first, rest = behind[:35], behind[35:]  # all of the overview, and some of the plots, groups and repeats
    for href, said in [*first, *Random(3).sample(rest, 25), *[one for one in rest if "again=" in one[0]][:3]]:
        page = center.ask(href).text
        assert f'data-count="{said}"' in page, href
        if int(said) <= 50:
            assert len(set(re.findall(r'href="/tickets/(\d+)"', page))) == int(said), href


def test_the_tickets_behind_a_share_are_those_it_means(center):
    with center.desk.store.reading() as session:
        loaded = Loaded(session, Period(date(2026, 10, 1), date(2026, 10, 31), ("s-1", "s-2"), ZONE), 0)
        numbers = loaded.numbers(statistics.INDICATORS["registered_rate"])
        whole = loaded.numbers(statistics.INDICATORS["registered_rate"], whole=True)
        rows = session.scalars(select(Ticket)).all()
    inside = [one for one in rows if f"{datetime.fromtimestamp(one.opened_ms / 1000, ZONE):%Y-%m}" == "2026-10"]
    case = [one for one in inside if one.verdict == "confirmed"]
    assert sorted(whole) == sorted(one.number for one in case)
    assert sorted(numbers) == sorted(one.number for one in case if one.registered_ms is not None)
    assert 0 < len(numbers) < len(whole)
    opened = {one.number: one.opened_ms for one in rows}
    assert all(opened[one] >= opened[other] for one, other in pairwise(numbers))


@pytest.mark.parametrize("days", [7, 14, 30])
def test_repeats_are_found_one_by_one(center, days):
    page = center.ask(f"/statistics?{OCTOBER}&again={days}&lang=en").text
    case = center.desk.rows(select(Ticket).where(Ticket.verdict == "confirmed").order_by(Ticket.opened_ms))
    again = {}
    for one in case:
        if f"{datetime.fromtimestamp(one.opened_ms / 1000, ZONE):%Y-%m}" == "2026-10":
            before = [
                other.opened_ms // 1000 for other in case if other.shop == one.shop and other.opened_ms < one.opened_ms
            ]
            if before and one.opened_ms // 1000 - max(before) <= days * 86_400:
                again[one.shop] = again.get(one.shop, 0) + 1
    rows = [row for table in Tables(page).found if table[0][0] == "Shop or place" for row in table[1:]]
    assert sum(again.values()) >= 3
    assert sorted((int(row[1]) for row in rows), reverse=True) == sorted(again.values(), reverse=True)[:50]


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("query", [f"{OCTOBER}&measure=soft_rate", f"{OCTOBER}&measure=to_clear&street=s-1"])
def test_workbook_and_paper_hold_what_the_page_shows(center, query, language):
    page = Tables(center.ask(f"/statistics?{query}&lang={language}").text)
    book = center.book(f"{query}&lang={language}")
    sheets = [[[cell.value for cell in row] for row in sheet.iter_rows()] for sheet in book]
    paper = PdfReader(io.BytesIO(center.ask(f"/statistics.pdf?{query}&lang={language}").content))
    text = " ".join("".join(one.extract_text() for one in paper.pages).split())
    overview = {row[0]: row[1:] for sheet in sheets[1:4] for row in sheet[1:]}
    asked = center.ask(f"/api/indicators?{query.replace('measure', 'x')}").json()["all"]
    for one in (*COUNTS, *SHARES, *MINUTES):
        name = big(one.words[0 if language == "zh" else 1])
        values = [value for value in overview[name] if value is not None]
        exact = written(one, asked)
        assert [float(text.strip("%").replace(",", "")) for text in exact if text != "–"] == pytest.approx(
            [value * 100 if "%" in text else value for value, text in zip(values, exact, strict=False)], abs=0.051
        )
        assert all(part in text for part in exact), name
    time = sheets[4]
    for row, cells in zip(page.found[0][1:], time[1:], strict=True):
        assert row[0] == cells[0]
        assert row[-1] == str(cells[-1])


def test_names_of_shops_are_for_those_who_may_read_them(center, monkeypatch):
    path = f"/statistics?{OCTOBER}&lang=en"
    link = next(href for href, said in Tables(center.ask(path).text).links if "shop=shop-" in href)
    assert "示例店铺" in center.ask(path).text
    monkeypatch.setitem(rights.MAY, "places.read", frozenset())
    for more in (path, link, f"/statistics/tickets?{OCTOBER}&shop=shop-7"):
        page = center.ask(more).text
        assert "shop-" in page
        assert "示例店铺" not in page
    book = center.book(f"{OCTOBER}&lang=en")
    assert not any("示例店铺" in str(cell.value) for sheet in book for row in sheet.iter_rows() for cell in row)


def test_everybody_sees_their_own_streets_alone(center):
    both, own = (center.ask(f"/statistics/tickets?{OCTOBER}", one).text for one in ("lead", "near"))
    assert int(re.search(r'data-count="(\d+)"', own)[1]) < int(re.search(r'data-count="(\d+)"', both)[1])
    for path in ("/statistics", "/statistics.xlsx", "/statistics/tickets"):
        center.ask(f"{path}?{OCTOBER}&street=s-2", "near", 403)
    assert "box-0/cam-1/square" in center.ask(f"/statistics?{OCTOBER}", "near").text


def test_an_address_says_what_is_shown(center):
    def led(query):
        sign_in(center.desk.store, "lead", center.client)
        answer = center.client.get(f"/statistics?{query}", follow_redirects=False)
        return dict(parse_qsl(urlsplit(answer.headers["location"]).query)) if answer.status_code == 303 else None

    # the form sends the days of a period as well: it stays that period, unless they were changed
    assert led("period=year&from=2026-01-01&to=2026-11-01&shop=") == {"period": "year"}
    assert led("period=month&from=2026-11-01&to=2026-11-01&street=") == {}
    changed = {"from": "2026-10-03", "to": "2026-11-01", "shop": "shop-7"}
    assert led("period=year&from=2026-10-03&to=2026-11-01&shop=shop-7&grid=") == changed
    assert led("from=2026-10-03&to=2026-11-01&shop=shop-7") is None
    for query in ("from=2026-13-01", "from=2026-10-02&to=2026-10-01", "from=2020-01-01&to=2026-01-01"):
        center.ask(f"/statistics?{query}", code=422)


NIGHT = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
LEAP = "from=2024-02-28&to=2024-03-01", {"29 Feb": "1", "1 Mar": "0", "28 Feb": "–"}
MONTH = "period=month", {"1 May": "–", "3 May": "1", "4 May": "0", "5 May": "0"}
FORWARD = "from=2026-03-29&to=2026-03-29", {"02:00": "–", "03:00": "1", "23:00": "0"}
CASES = [
    # zone, now, tickets, asked, and what is to be seen
    (ZONE, "2024-03-02", ["2024-02-29 09:00"], *LEAP),
    (ZONE, "2023-03-02", ["2023-02-28 09:00"], "from=2023-02-28&to=2023-03-01", {"28 Feb": "1", "1 Mar": "0"}),
    (ZONE, "2026-05-05", ["2026-05-03 23:59"], *MONTH),
    (ZONE, "2026-05-05", ["2026-05-05 10:10"], "period=today", {"09:00": "0", "10:00": "1", "13:00": "–"}),
    # clocks go back: the hour from two comes twice; they go forward: it does not come
    (BERLIN, "2026-10-26", [NIGHT, NIGHT + timedelta(hours=1)], "from=2026-10-25&to=2026-10-25", {"02:00": "2"}),
    (BERLIN, "2026-03-30", ["2026-03-29 03:00"], *FORWARD),
]


@pytest.mark.parametrize(("zone", "now", "tickets", "asked", "seen"), CASES)
def test_days_are_the_centers_and_what_is_unknown_is_not_zero(tmp_path, zone, now, tickets, asked, seen):
    at = [one if isinstance(one, datetime) else datetime.fromisoformat(one).replace(tzinfo=zone) for one in tickets]
    with Center(tmp_path / "data", zone, datetime.fromisoformat(f"{now} 12:00").replace(tzinfo=zone)) as center:
        center.put(*at)
        for name in ("soft_rate", "to_notice", "reported"):
            page = center.ask(f"/statistics?{asked}&measure={name}&lang=en").text
        # a note may stand behind the name
        time = {re.match(r"\d+(:00| \w+)", row[0])[0]: row[1] for row in Tables(page).found[0][1:]}
        assert {name: time.get(name) for name in seen} == seen, time
        center.ask(f"/statistics.pdf?{asked}&measure=rework_rate")


def test_footfall_is_added_up_by_the_hours_of_the_clock(tmp_path):
    """As one quarter after the other gives it, over both nights on which clocks are moved."""
    chance = Random(4)
    with Center(tmp_path / "data", BERLIN, NIGHT) as center:
        center.put()
        begin = datetime(2026, 3, 28, tzinfo=BERLIN)
        hours = [[] for _ in range(24)]
        with center.desk.store.writing() as session:
            for day in (0, 1, 2, 211, 212):
                for quarter in range(96):
                    at = datetime.fromtimestamp(begin.timestamp() + day * 86_400 + quarter * 900, BERLIN)
                    mean = chance.randrange(100) / 4
                    count = ZoneCount(camera="c", zone="z", looks=2, mean=mean, most=round(mean), lower_bound=day == 1)
                    footfall.take(session, "box-0", [count], round(at.timestamp() * 1000))
                    hours[at.hour].append(mean)
        with center.desk.store.reading() as session:
            span = [round(one.timestamp() * 1000) for one in (begin, begin + timedelta(days=300))]
            (one,) = footfall.of_period(session, ["s-1"], *span, BERLIN)
    assert one.hours == tuple(pytest.approx(sum(every) / len(every), abs=0.006) for every in hours)
    every = [mean for means in hours for mean in means]
    assert (one.mean, one.lower_bound) == (pytest.approx(sum(every) / len(every), abs=0.006), True)


def test_both_databases_say_the_same_of_400_days(tmp_path, monkeypatch, postgres, template):
    monkeypatch.setattr(million, "NOW", now := datetime(2024, 3, 31, 12, tzinfo=ZONE))
    said = []
    for name, url in (("sqlite", None), ("postgresql", postgres.create(template))):
        with Center(tmp_path / name, now=now, url=url) as center:
            million.fill(center.desk.store, 300, Random(5))
            with center.desk.store.writing() as session:
                for at in range(0, 400 * 96, 97):
                    count = ZoneCount(camera="cam-1", zone="square", looks=3, mean=at % 11, most=at % 17)
                    footfall.take(session, "box-0", [count], round(now.timestamp() * 1000) - at * 900_000)
            for _ in range(2):
                for first, last in (("2023-02-26", "2024-03-31"), ("2024-02-01", "2024-02-29"), ("2023-03-01",) * 2):
                    page = center.ask(f"/statistics?from={first}&to={last}&measure=soft_rate").text
                    said.append(page.partition("<main")[2].partition("</main>")[0])
                keeping.pack(center.desk.store, ZONE, now.date())
    assert "2月29日" in said[1]
    assert said == said[:3] * 4


def test_an_empty_month_says_so_in_words(tmp_path):
    with Center(tmp_path / "data") as center:
        assert "No ticket yet" in center.ask("/statistics?lang=en").text
        center.put(datetime(2026, 9, 30, 12, tzinfo=ZONE))
        for query, words in (
            (OCTOBER, "No ticket like that appeared on these days."),
            ("from=2026-08-01&to=2026-08-31", "the first ticket appeared on 30 Sept 2026"),
        ):
            page = center.ask(f"/statistics?{query}&lang=en").text
            assert words in page
            assert "<svg" not in page
            assert len(center.book(f"{query}&lang=en").sheetnames) == 4
            center.ask(f"/statistics.pdf?{query}")


def test_long_periods_are_shown_by_weeks():
    period = Period(date(2025, 9, 28), date(2026, 11, 1), (), ZONE)
    by, weeks = statistics.stretches(period, date(2025, 10, 8), round(NOW.timestamp() * 1000))
    assert (by, len(weeks)) == ("week", 58)
    assert [(one.lacks, one.whole) for one in weeks[:4]] == [("before", False)] * 2 + [("", False), ("", True)]
    assert not weeks[-1].whole  # today is not over
    assert sum((one.last - one.first).days + 1 for one in weeks) == 400


@given(
    st.lists(st.one_of(st.none(), st.integers(0, 99_999)), min_size=1, max_size=62),
    st.sampled_from(["7", "26 Sept", "2026年10月"]),
)
def test_labels_of_a_plot_never_meet(values, text):
    found = plots.plot(
        [plots.Bar("", one, "" if one is None else str(one), lacks=one is None) for one in values],
        [(index, text, index % 7 == 0) for index in range(len(values))],
    )
    for labels in (found.ticks, found.values):
        for across, shown in ((plots.WIDE, labels), (plots.NARROW, [one for one in labels if not one.wide])):
            for one, other in pairwise(shown):
                room = (other.at - one.at) * across / 100
                assert room >= (plots.width_px(one.text) + plots.width_px(other.text)) / 2
    assert max(one.high for one in found.bars) <= plots.HEIGHT
    assert found.ticks


MEET = """() => {
  const all = [...document.querySelectorAll(".plot text")].map((one) => [one.textContent, one.getBoundingClientRect()]);
  const meet = ([, a], [, b]) => a.width && b.width && a.left < b.right - 1 && b.left < a.right - 1
    && a.top < b.bottom - 3 && b.top < a.bottom - 3;
  return all.flatMap((one, index) => all.slice(index + 1).filter((other) => meet(one, other))
    .map((other) => one[0] + " on " + other[0])); }"""


def test_a_year_looks_right_and_leads_to_its_tickets(chromium, tmp_path):
    """400 days on a desktop and on the smallest phone: no label lies on another; a bar leads to its week's tickets."""

    def prepare(desk):
        million.fill(desk.store, 1500, Random(5))
        make_person(desk.store, "lead", "viewer@*")

    last = datetime.now(ZONE).date()
    query = f"from={last - timedelta(days=399)}&to={last}&measure=valid_rate"
    with running(tmp_path, prepare) as center:
        for size, language in ((browser.DESKTOP, "en"), (browser.NARROW, "zh")):
            with browser.Tab(chromium, center, "lead", size=size, language=language) as tab:
                page = tab.open(f"/statistics?{query}")
                tab.check()
                assert page.evaluate(MEET) == []
                assert page.locator(".plot .gap").count() == 1
                bar = page.locator(".plot a").nth(20)
                number = re.search(r"\((\d+) / (\d+)\)", bar.locator("title").text_content())
                bar.dispatch_event("click")
                page.wait_for_url("**/statistics/tickets?**")
                assert page.locator("#count").get_attribute("data-count") == number[2]
