"""Cases in the municipal platform's names, which are a file."""

import csv
import io
import json
from datetime import date, datetime
from zoneinfo import ZoneInfo

import openpyxl
import pytest

from collector.exchange import municipal
from collector.exchange.municipal import Municipal, cases, load_municipal, written
from collector.exchange.reports import Report, take
from collector.places.codes import load_codes
from protocol.documents import SettingsError
from tests.collector.tickets.conftest import CHEN, LI, WANG
from tests.people import bearer, browser, make_pages, make_person

CODES, ZONE = load_codes(), ZoneInfo("Asia/Shanghai")
DAY = date(2026, 3, 2)
CITY = """
time = "%Y/%m/%d %H:%M"
[[field]]
name = "任务号"
fact = "case_number"
[[field]]
name = "来源"
fact = "source"
values = { hotline = "3005" }
[[field]]
name = "照片"
fact = "photo.after"
"""


@pytest.fixture
def handled(street):
    """A street with one case that a hotline reported, and one that a camera saw and nobody has registered."""
    street.policy(region="330105")
    said = Report("hotline", "0507", "s", "=1+1 纸箱", address="示例路 12 号", lon=120.14, lat=30.31)
    street.desk.write(take, LI, said, CODES, street.now_ms)
    street.act(WANG, "found", result="exists")
    for verb, actor, args in (
        *(("confirm", LI, {}), ("register", LI, {}), ("dispatch", LI, {"to": "chen"})),
        *(("accept", CHEN, {}), ("feed_back", CHEN, {}), ("rework", LI, {"reason": "again"})),
        *(("accept", CHEN, {}), ("feed_back", CHEN, {}), ("close", LI, {"reason": "done"})),
    ):
        street.wait(1)
        street.act(actor, verb, **args)
    street.appears()
    return street


def rows(street, table, **options):
    return list(street.desk.read(cases, DAY, DAY, table, CODES, "330105002", ZONE, **options))


def test_a_case_has_what_the_platform_asks_for(handled):
    (one,) = rows(handled, load_municipal())
    assert one["case_code"].startswith("33010520260302")
    assert len(one["case_code"]) == 19
    assert (one["event_code"], one["sub_type"], one["main_type"]) == ("3301050507", "乱堆物堆料", "街面秩序")
    assert (one["source_type"], one["verify_result"], one["check_result"]) == ("12345", "exists", "pass")
    assert (one["rework_count"], one["appeal"], one["longitude"]) == ("1", "0", "120.14")
    times = ("report", "accept", "dispatch", "handle_receive", "handle_finish", "check", "close")
    read = [datetime.strptime(one[f"{name}_time"], "%Y-%m-%d %H:%M:%S") for name in times]  # noqa: DTZ007 - as written
    assert read == sorted(read)
    everything = rows(handled, load_municipal(), everything=True)
    assert [row["source_type"] for row in everything] == ["12345", "video"]
    assert everything[1]["event_code"] == "3301050504"
    assert rows(handled, load_municipal(), streets=frozenset({"other"})) == []


def test_another_citys_names_are_a_file(handled, tmp_path):
    path = tmp_path / "municipal.toml"
    path.write_text(CITY, "utf-8")
    table = Municipal.load(path)
    (one,) = rows(handled, table)
    assert list(one) == ["任务号", "来源", "照片"]
    assert one["来源"] == "3005"
    read = list(csv.reader(io.StringIO(written([one], table, "csv").decode("utf-8-sig"))))
    assert read == [["任务号", "来源", "照片"], [one["任务号"], "3005", ""]]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [('fact = "source"', 'fact = "colour"', "expected a fact"), ('name = "来源"', 'name = "任务号"', "is there twice")],
)
def test_a_mistake_in_the_names_is_named(tmp_path, before, after, expected):
    path = tmp_path / "municipal.toml"
    path.write_text(CITY.replace(before, after), "utf-8")
    with pytest.raises(SettingsError, match=expected):
        Municipal.load(path)


def test_files_run_nothing_and_lose_no_digit(handled):
    table = load_municipal()
    found = rows(handled, table)
    text = written(found, table, "csv").decode("utf-8-sig")
    assert "'=1+1" in text
    book = openpyxl.load_workbook(io.BytesIO(written(found, table, "xlsx")))
    cell = book.active.cell(2, 1)
    assert (cell.value, cell.data_type) == (found[0]["case_code"], "s")
    assert json.loads(written(found, table, "json")) == found


def test_an_export_needs_a_right_shows_ones_streets_is_on_record(handled):
    desk = handled.desk
    client = browser(make_pages(desk))
    for person, role in (("li", "operator@s"), ("far", "auditor@other"), ("wu", "viewer@s")):
        make_person(desk.store, person, role)

    def export(person, suffix="csv", first="2026-03-01"):
        days = {"first": first, "last": "2026-03-31"}
        return client.get(f"/api/exports/municipal.{suffix}", params=days, headers=bearer(desk.store, person))

    for suffix in municipal.SUFFIXES:
        assert export("li", suffix).status_code == 200
    assert export("li", "json").json()[0]["source_type"] == "12345"
    assert export("far", "json").json() == []
    assert (export("wu").status_code, export("li", first="2020-01-01").status_code) == (403, 422)
