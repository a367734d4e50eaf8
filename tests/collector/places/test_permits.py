"""Permits: what they cover, for whom and where, and what a list of them must not do."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select

from collector.places import permits, register, shops
from collector.places.cameras import CAMERAS
from collector.places.faults import PlacesError
from collector.places.history import Author, history
from collector.places.permits import PERMITS, Cover
from collector.places.register import export_rows, import_file
from collector.places.sheets import write_csv, write_workbook
from collector.store import PermitRow, PlaceRevision
from tests.incidents import Case
from tests.places import AROUND, AUTHOR, CLERK, NOW_MS, PERMIT, SHOP, box

SHANGHAI = ZoneInfo("Asia/Shanghai")


def ms(text):
    return round(datetime.fromisoformat(text).replace(tzinfo=SHANGHAI).timestamp() * 1000)


def shop(desk, **values):
    return desk.write(shops.add, {**SHOP, **values}, AUTHOR, AROUND)[0]


def permit(desk, **values):
    given = {name: value for name, value in {**PERMIT, **values}.items() if value is not None}
    return desk.write(permits.add, given, AUTHOR, AROUND)


def covering(desk, at="2026-05-28T19:00", shop="tea-12", street="s", place=("box-1", "cam-1", "front")):
    return desk.read(permits.covering, shop, street, *place, ms(at), SHANGHAI)


def test_a_shop_is_covered_during_the_hours_of_its_permit(desk):
    shop(desk)
    added, _ = permit(desk)
    assert (added.street, added.revision) == ("s", 1)  # the shop's street
    assert covering(desk) == Cover(added.id, "外摆-7", ms("2026-05-28T22:00"))
    assert covering(desk, "2026-05-28T22:00") is None
    assert covering(desk, "2026-10-01T19:00") is None
    assert covering(desk, shop="other-1") is None
    assert covering(desk, street="other") is None
    # the box named no shop: the register knows whose zone it is
    assert covering(desk, shop=None) == covering(desk)
    assert covering(desk, shop=None, place=("box-1", "cam-1", "side")) is None


def test_of_several_permits_the_longest_is_named(desk):
    shop(desk)
    permit(desk)
    permit(desk, number="夜市-1", shop=None, street="s", zones="box-1/cam-1/front", hours="19:00-02:00")
    assert covering(desk, "2026-05-28T18:30").number == "外摆-7"
    assert covering(desk, "2026-05-28T19:30") == Cover(2, "夜市-1", ms("2026-05-29T02:00"))
    # whoever stands there
    assert covering(desk, "2026-05-28T19:30", shop="nobody").number == "夜市-1"
    assert covering(desk, "2026-05-28T19:30", place=("box-1", "cam-1", "side")).number == "外摆-7"


def test_shop_and_zones_must_both_fit(desk):
    shop(desk)
    permit(desk, zones="box-1/cam-1/front")
    assert covering(desk)
    assert covering(desk, place=("box-1", "cam-1", "side")) is None


AREA = "120.13 30.31, 120.14 30.31, 120.14 30.32, 120.13 30.32"


def test_an_area_covers_the_doors_and_cameras_inside_it(desk):
    shop(desk)
    permit(desk, shop=None, street="s", area=AREA)
    assert covering(desk) is None  # nobody knows where the shop or the camera is
    given = {"box": "box-1", "camera": "cam-1", "street": "s", "lon": "120.135", "lat": "30.315"}
    desk.write(register.change, CAMERAS, given, AUTHOR, AROUND)
    assert covering(desk).number == "外摆-7"
    # the door counts more than the camera
    desk.write(register.change, shops.SHOPS, {"id": "tea-12", "lon": "120.15", "lat": "30.315"}, AUTHOR, AROUND)
    assert covering(desk) is None
    assert covering(desk, shop="nobody").number == "外摆-7"


def test_a_withdrawn_permit_covers_nothing_from_then_on(desk):
    shop(desk)
    permit(desk)
    at = ms("2026-05-28T20:00")
    desk.write(permits.withdraw, "外摆-7", Author(CLERK, at, "投诉"), AROUND)
    assert covering(desk, "2026-05-28T19:59") == Cover(1, "外摆-7", at)  # what was is still so
    assert covering(desk, "2026-05-28T20:00") is None
    for values in ({"state": "active"}, {"until_day": "2027-01-01"}):
        with pytest.raises(PlacesError, match="withdrawn for good"):
            desk.write(register.change, PERMITS, {"number": "外摆-7", **values}, AUTHOR, AROUND)
    lines = desk.read(history, "permit", "外摆-7")
    assert [(one["action"], one["reason"]) for one in lines] == [("withdrawn", "投诉"), ("added", "")]


def test_a_permit_goes_with_its_shop(desk):
    shop(desk)
    permit(desk)
    desk.write(shops.close, "tea-12", AUTHOR, AROUND)
    assert covering(desk) is None


LINE = "120.1 30.1, 120.2 30.2, 120.3 30.3"
WRONG = [
    ({"until_day": "2026-04-30"}, "until_day", "ends_before_start"),
    ({"from_day": "2026-02-29"}, "from_day", "date"),
    ({"from_day": "26-05-01"}, "from_day", "date"),
    ({"until_day": "2036-06-01"}, "until_day", "too_long"),
    ({"hours": "18:00-25:00"}, "hours", "hours"),
    ({"hours": "18:60-22:00"}, "hours", "hours"),
    ({"hours": "晚上"}, "hours", "hours"),
    ({"hours": ""}, "hours", "missing"),
    ({"weekdays": "工作日"}, "weekdays", "weekdays"),
    ({"weekdays": ";"}, "weekdays", "weekdays"),
    ({"hours": "、"}, "hours", "hours"),
    ({"weekdays": "Su", "from_day": "2026-05-25", "until_day": "2026-05-30"}, "weekdays", "never"),
    ({"excluded": "2026-05-01..2026-09-30"}, "weekdays", "never"),
    ({"excluded": "2026-05-09..2026-05-01"}, "excluded", "dates"),
    ({"shop": "nobody"}, "shop", "unknown_shop"),
    ({"shop": "", "street": "s"}, "shop", "nowhere"),
    ({"street": "other"}, "street", "shop_street"),
    ({"zones": "box-2/cam-1/front"}, "zones", "zone_street"),
    ({"area": "120.1 30.1, 120.2 30.2"}, "area", "corners"),
    ({"area": "120.1 30.1, 120.2 30.2, 120.2 30.1, 120.1 30.2"}, "area", "crosses"),
    ({"area": LINE}, "area", "no_area"),
    ({"area": "30.1 120.1, 30.2 120.2, 30.2 120.1"}, "area", "number"),
    ({"issuer": None}, "issuer", "missing"),
    ({"number": "外摆-7\x07"}, "number", "odd_character"),
]


@pytest.fixture(scope="module")
def store(store):
    with store.writing() as session:
        shops.add(session, SHOP, AUTHOR, AROUND)
        box(session, "box-2", "other")
    return store


def test_all_that_is_wrong_with_a_row_is_said_and_no_more(store):
    rows = [
        {"from_day": "46143", "until_day": "2026-04-01", "hours": "0.75", "shop": "nobody"},
        {"number": "8", "until_day": "soon", "weekdays": "Su", "issuer": "", "area": LINE},
        {"number": "", "shop": "Tea", "hours": ""},
    ]
    names = [*PERMIT, "weekdays", "area"]
    content = write_csv([names, *([{**PERMIT, **row}.get(name, "") for name in names] for row in rows)])
    with store.writing() as session:
        report = import_file(session, PERMITS, content, AUTHOR, AROUND)
        assert session.scalar(select(func.count()).select_from(PermitRow)) == 0
    assert [(one.row, one.field, one.code) for one in report.faults] == [
        *[(2, "from_day", "date"), (2, "hours", "hours"), (2, "shop", "unknown_shop")],
        *[(3, "issuer", "missing"), (3, "until_day", "date"), (3, "area", "no_area")],
        *[(4, "number", "missing"), (4, "shop", "id"), (4, "hours", "missing")],
    ]
    assert "format the column as dates" in report.faults[0].text.en


@pytest.mark.parametrize(("values", "field", "code"), WRONG)
def test_what_is_wrong_with_a_permit_is_named(store, values, field, code):
    given = {name: value for name, value in {**PERMIT, **values}.items() if value is not None}
    with store.writing() as session:
        with pytest.raises(PlacesError) as refused:
            permits.add(session, given, AUTHOR, AROUND)
        assert [(one.field, one.code) for one in refused.value.faults] == [(field, code)]
        # the same in a file, with its row
        content = write_csv([list(given), list(given.values())])
        report = import_file(session, PERMITS, content, AUTHOR, AROUND)
        assert (2, field, code) in [(one.row, one.field, one.code) for one in report.faults]
        assert session.scalar(select(func.count()).select_from(PermitRow)) == 0


@pytest.mark.parametrize(
    ("days", "hours", "excluded"),
    [
        ("Mo-Fr", "18:00-22:00", "2026-10-01..2026-10-07"),
        ("周一至周五", "18:00～22:00", "2026年10月1日至2026年10月7日"),
        ("一、二、三、四、五", "１８：００—２２：００", "2026/10/1..2026/10/7"),
        ("1-5", "18:00 至 22:00", "2026-10-01；2026-10-02..2026-10-07"),
        ("星期一到星期五", "18:00-20:00,20:00-22:00", "2026.10.1..2026.10.7"),
    ],
)
def test_days_and_hours_as_people_write_them(store, days, hours, excluded):
    with store.writing() as session:
        values = {**PERMIT, "until_day": "2026-12-31", "weekdays": days, "hours": hours, "excluded": excluded}
        found, _ = register.change(session, PERMITS, values, AUTHOR, AROUND)
        assert found.weekdays == (0, 1, 2, 3, 4)
        assert len(found.excluded) == 7
        assert found.schedule.covers_until(ms("2026-05-28T19:00"), SHANGHAI) == ms("2026-05-28T22:00")
        assert found.schedule.covers_until(ms("2026-10-07T19:00"), SHANGHAI) is None
        session.rollback()


@pytest.mark.parametrize("write", [write_csv, lambda rows: write_workbook(rows, "备案")])
def test_what_is_exported_is_imported_as_it_was(desk, write):
    shop(desk)
    permit(desk, excluded="2026-06-01..2026-06-03; 2026-07-01", weekdays="Fr-Su", hours="18:00-02:00,06:00-09:00")
    permit(desk, number="市集/2026-1", shop=None, street="s", area=AREA, hours="全天", weekdays="")
    with desk.store.writing() as session:
        content = write(export_rows(PERMITS, permits.listed(session)))
        report = import_file(session, PERMITS, content, AUTHOR, AROUND)
        assert ([str(one) for one in report.faults], report.unchanged) == ([], 2)
        assert session.scalar(select(func.count()).where(PlaceRevision.kind == "permit")) == 2


def test_which_permits_are_listed(desk):
    shop(desk)
    permit(desk)
    permit(desk, number="old", from_day="2025-01-01", until_day="2025-02-01")
    today = datetime.fromtimestamp(NOW_MS / 1000, SHANGHAI).date()
    assert [one.number for one in desk.read(permits.listed, on=today)] == ["外摆-7"]
    assert [one.number for one in desk.read(permits.listed, shop="tea-12")] == ["外摆-7", "old"]
    assert [one.number for one in desk.read(permits.listed, after=1, limit=1)] == ["old"]
    assert desk.read(permits.listed, streets=["other"]) == []


def test_the_tickets_of_a_permit_are_looked_at_again(desk, monkeypatch):
    looked = []
    monkeypatch.setattr(permits, "look_again", lambda _session, numbers: looked.append(list(numbers)))
    desk.take(Case(shop="tea-12").opened(), Case(number=2, shop="noodle-3", zone="side").opened())
    desk.take(Case(number=3, shop=None, zone="mine").opened())
    shop(desk, zones="box-1/cam-1/mine")
    permit(desk)
    permit(desk, number="2", shop=None, street="s", zones="box-1/cam-1/side")
    permit(desk, number="3", shop=None, street="s", area=AREA)
    permit(desk, number="4", shop=None, street="other", area=AREA)
    desk.write(permits.withdraw, "2", AUTHOR, AROUND)
    assert looked == [[1, 3], [2], [1, 2, 3], [], [2]]
