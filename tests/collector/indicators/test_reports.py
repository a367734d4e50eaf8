"""Reports: the API, the page, the files, the command line, and what the clerk keeps by itself."""

import io
from datetime import datetime, timedelta
from random import Random

import openpyxl
import pytest
from pypdf import PdfReader
from sqlalchemy import select
from typer.testing import CliRunner

from collector.indicators import footfall
from collector.indicators.clerk import Clerk
from collector.indicators.definitions import BY, document
from collector.indicators.settings import ReportsSection
from collector.papers.typefaces import typeface
from collector.start import command_line
from collector.store import FootfallRow
from protocol.messages import ZoneCount
from tests.bench import million
from tests.bench.million import NOW, ZONE
from tests.collector.conftest import Desk
from tests.people import browser, make_pages, make_person, sign_in
from tests.services import ROOT

LAST = NOW.date() - timedelta(days=1)
FROM = (LAST - timedelta(days=30)).isoformat()


@pytest.fixture(scope="module")
def center(tmp_path_factory):
    """A center of two streets, and a client of its pages."""
    desk = Desk(tmp_path_factory.mktemp("center"))
    million.fill(desk.store, 1500, Random(5))
    with desk.store.writing() as session:
        for quarter in range(8):
            count = ZoneCount(camera="cam-1", zone="square", looks=10, mean=quarter, most=quarter + 2)
            footfall.take(session, "box-0", [count], round((NOW.timestamp() - 86_400 + quarter * 900) * 1000))
    make_person(desk.store, "lead", "viewer@*")
    make_person(desk.store, "near", "viewer@s-1")
    return desk, browser(make_pages(desk))


def ask(center, person, path, code=200):
    desk, client = center
    sign_in(desk.store, person, client)
    answer = client.get(path)
    assert answer.status_code == code, answer.text[:300]
    return answer


@pytest.mark.parametrize("by", BY)
def test_parts_of_each_taking_apart_add_up(center, by):
    found = ask(center, "lead", f"/api/indicators?from={FROM}&to={LAST}&by={by}").json()
    whole = found["all"]
    assert whole["counts"]["reported"] > 100
    for name, count in whole["counts"].items():
        assert sum(part["counts"][name] for part in found["parts"]) == count
    for name, share in whole["shares"].items():
        assert sum(part["shares"][name]["whole"] for part in found["parts"]) == share["whole"]
    assert whole["shares"]["valid_rate"]["value"] == pytest.approx(0.83, abs=0.1)


def test_everybody_sees_their_own_streets_alone(center):
    both = ask(center, "lead", f"/api/indicators?from={FROM}&to={LAST}&by=street").json()
    own = ask(center, "near", f"/api/indicators?from={FROM}&to={LAST}&by=street").json()
    assert [part["key"] for part in own["parts"]] == ["s-1"] == own["streets"]
    assert own["all"] == {name: both["parts"][0][name] for name in own["all"]}
    ask(center, "near", f"/api/indicators?from={FROM}&to={LAST}&street=s-2", 403)
    ask(center, "near", f"/reports/{LAST}.pdf?street=s-2", 403)
    zones = ask(center, "near", f"/api/footfall?from={FROM}&to={LAST}").json()["zones"]
    assert [(one["zone"], one["mean"], one["most"]) for one in zones] == [("square", 3.5, 9)]
    assert zones[0]["hours"][12:14] == [1.5, 5.5]


@pytest.mark.parametrize(
    "query", ["from=2026-10-02&to=2026-10-01", "from=2020-01-01&to=2026-01-01", "from=0001-01-01&to=0001-01-02", ""]
)
def test_periods_that_make_no_sense_are_refused(center, query):
    ask(center, "lead", f"/api/indicators?{query}", 422)


def test_the_page_leads_to_reports_that_can_be_read(center):
    page = ask(center, "lead", "/reports?lang=zh").text
    day = datetime.now(ZONE).date()
    assert f'href="/reports/{day}.pdf"' in page
    assert f'href="/reports/{day:%Y-%m}.xlsx"' in page
    paper = PdfReader(io.BytesIO(ask(center, "lead", f"/reports/{LAST:%Y-%m}.pdf?lang=zh").content))
    text = "".join(one.extract_text() for one in paper.pages)
    parts = ("指标月报 2026-10", "小河街道", "有效上报率", "智治率", "按店铺", "示例店铺", "人流", "box-0/cam-1/square")
    assert [one for one in parts if one not in text] == []
    book = openpyxl.load_workbook(io.BytesIO(ask(center, "lead", f"/reports/{LAST:%Y-%m}.xlsx?lang=en").content))
    shops = book["By shop"]
    asked = ask(center, "lead", "/api/indicators?from=2026-10-01&to=2026-10-31&by=shop").json()
    assert shops.max_row == len(asked["parts"]) + 1
    assert shops.cell(2, 2).value == asked["parts"][0]["counts"]["reported"]
    ask(center, "lead", f"/reports/{LAST}.pdf")
    for name in ("2026-13.pdf", "x.pdf", "2026-1-1.xlsx", "0001-01-01.pdf"):
        assert ask(center, "lead", f"/reports/{name}", 422 if name[0] == "0" else 404)


def test_the_clerk_keeps_each_report_once_in_its_time(center, tmp_path):
    desk, _ = center
    now = [datetime(2026, 11, 1, 0, 10, tzinfo=ZONE).timestamp()]
    section = ReportsSection(folder=tmp_path, footfall_days=1)
    clerk = Clerk(desk.store, section, tmp_path, "示例", ZONE, typeface, lambda: now[0])
    clerk.tidy()
    assert list(tmp_path.rglob("*.*")) == []
    now[0] += 3600
    clerk.tidy()
    made = {str(file.relative_to(tmp_path)): file for file in tmp_path.rglob("*.*")}
    days = [f"2026-10-{day}" for day in range(25, 32)]  # of a week, where the collector was away
    names = [f"{name}.{kind}" for name in ("2026-10", *days) for kind in ("pdf", "xlsx")]
    assert sorted(made) == sorted(f"{street}/{name}" for street in ("s-1", "s-2") for name in names)
    made["s-1/2026-10.pdf"].write_bytes(b"kept")
    now[0] += 3600
    clerk.tidy()
    assert made["s-1/2026-10.pdf"].read_bytes() == b"kept"
    now[0] += 2 * 86_400
    clerk.tidy()
    assert (tmp_path / "s-2" / "2026-11-02.xlsx").exists()
    assert desk.rows(select(FootfallRow)) == []


def test_the_command_line_shows_writes_and_builds_anew(center, tmp_path):
    desk, _ = center
    settings = tmp_path / "center.toml"
    database = desk.folder / "center.db"
    settings.write_text(
        f'version = 1\n[center]\nid = "demo"\ndatabase_url = "sqlite:///{database}"\n'
        '[broker]\nurl = "mqtt://127.0.0.1:1"\n'
    )

    def run(*words, code=0):
        done = CliRunner().invoke(command_line(), [*words, "--settings", str(settings)])
        assert done.exit_code == code, done.output
        return done.output

    assert "有效上报率" in run("indicators", "show", "--month", "2026-10", "--by", "category")
    assert "0504" in run("indicators", "show", "--day", str(LAST), "--by", "category")
    assert "expected a day" in run("indicators", "show", "--day", "yesterday", code=2)
    for kind in ("pdf", "xlsx"):
        file = tmp_path / f"october.{kind}"
        run("report", "--month", "2026-10", "-o", str(file))
        assert file.stat().st_size > 5_000
    assert "1500 tickets" in run("indicators", "rebuild")


def test_quarters_add_up_what_came_in_them(center):
    desk, _ = center
    at_ms = 1_700_000_000_000 // footfall.QUARTER_MS * footfall.QUARTER_MS
    with desk.store.writing() as session:
        for looks, mean, most, full in ((10, 2.0, 5, False), (30, 4.0, 6, True)):
            one = ZoneCount(camera="cam-2", zone="z", looks=looks, mean=mean, most=most, lower_bound=full)
            footfall.take(session, "box-1", [one], at_ms + looks * 1000)
        row = session.get_one(FootfallRow, ("box-1", "cam-2", "z", at_ms))
        assert (row.looks, row.mean, row.most, row.lower_bound) == (40, 3.5, 6, 1)


def test_the_page_of_indicators_is_as_they_are_defined():
    assert (ROOT / "docs/ref/indicators.md").read_text("utf-8") == document()
