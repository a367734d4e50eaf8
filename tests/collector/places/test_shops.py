"""The register of shops: single changes, whole files, history, and what the boxes' settings say."""

import json
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select

from collector.people.audit import START
from collector.places import fields, register, shops
from collector.places.faults import PlacesError
from collector.places.history import history
from collector.places.register import export_rows, import_file
from collector.places.sheets import write_csv, write_workbook
from collector.places.shops import COLUMNS, SHOPS
from collector.places.standing import disagreements, standing
from collector.store import AuditRow, PlaceRevision, ShopRow, ShopZone
from tests.collector.conftest import at_once
from tests.incidents import Case
from tests.places import AROUND, AUTHOR, SHOP, box

HEAD = [column.zh for column in COLUMNS]


def add(desk, **values):
    return desk.write(shops.add, {**SHOP, **values}, AUTHOR, AROUND)


def change(desk, shop="tea-12", **values):
    seen = values.pop("seen", None)
    return desk.write(register.change, SHOPS, {"id": shop, **values}, AUTHOR, AROUND, new=False, seen=seen)[0]


def take(desk, content, **how):
    return desk.write(import_file, SHOPS, content, AUTHOR, AROUND, **how)


def sheet(*rows, head=("店铺编号", "店铺名称", "街道", "电话", "店前区")):
    return write_csv([head, *rows])


def counts(desk):
    return [desk.count(one) for one in (ShopRow, ShopZone, PlaceRevision)]


def told(report):
    return [(one.row, one.field, one.code) for one in report.faults]


def test_a_shop_is_kept_as_it_was_entered(desk):
    added, warnings = add(desk)
    got = (added.phone, added.zones, added.language, added.revision)
    assert got == ("13800000000", (("box-1", "cam-1", "front"),), "zh", 1)
    assert {one.code for one in warnings} == {"street", "box"}
    assert desk.read(shops.find, "tea-12") == added
    assert desk.read(shops.find, "nobody") is None
    assert desk.read(shops.owner_of, "box-1", "cam-1", "front") == "tea-12"


def test_every_change_has_its_author_and_what_was_before(desk):
    add(desk)
    change(desk, phone="0571-88001234", note="搬到隔壁")
    desk.write(shops.close, "tea-12", AUTHOR, AROUND)
    lines = desk.read(history, "shop", "tea-12")
    got = [(one["revision"], one["action"], one["by"], one["by_name"]) for one in lines]
    assert got == [(3, "closed", "person:li", "李"), (2, "changed", "person:li", "李"), (1, "added", "person:li", "李")]
    assert lines[1]["changed"] == {"phone": ["13800000000", "057188001234"], "note": ["", "搬到隔壁"]}
    assert desk.read(shops.owner_of, "box-1", "cam-1", "front") is None
    audit = desk.rows(select(AuditRow).order_by(AuditRow.number))
    assert [(row.action, row.object, row.actor) for row in audit] == [
        (f"shop.{name}", "shop/tea-12", "person:li") for name in ("added", "changed", "closed")
    ]
    assert json.loads(audit[1].detail) == {"revision": 2, "fields": ["note", "phone"]}
    assert audit[0].before == START
    # the log is never changed, so it holds nothing of people
    assert not any("张三" in row.detail or "138" in row.detail for row in audit)


def test_who_looked_at_an_older_revision_is_told(desk):
    add(desk)
    change(desk, name="甲", seen=1)
    with pytest.raises(PlacesError, match="got one of 1; look again"):
        change(desk, name="乙", seen=1)
    assert change(desk, name="甲").revision == 2  # nothing changed, so there is no revision


@pytest.mark.parametrize(
    ("values", "field", "code"),
    [
        ({"id": "Tea 12"}, "id", "id"),
        ({"id": "茶"}, "id", "id"),
        ({"id": "x" * 64}, "id", "id"),
        ({"name": ""}, "name", "missing"),
        ({"name": "x" * 201}, "name", "too_long"),
        ({"name": "=1+1"}, "name", "formula"),
        ({"name": "茶\u202e铺"}, "name", "odd_character"),
        ({"name": "茶\n铺"}, "name", "odd_character"),
        ({"name": {"a": 1}}, "name", "type"),
        ({"name": 10**5000}, "name", "type"),
        ({"zones": [["box-1/cam-1/front"]]}, "zones", "type"),
        ({"phone": "1380000000"}, "phone", "phone"),
        ({"phone": "88001234"}, "phone", "phone"),
        ({"phone": 1.5}, "phone", "phone"),
        ({"email": "a@b@c"}, "email", "email"),
        ({"language": "fr"}, "language", "choice"),
        ({"state": "maybe"}, "state", "choice"),
        ({"zones": "box-1/cam-1"}, "zones", "zone"),
        ({"zones": "box-1/cam-1/front; box-1/cam-1/front"}, "zones", "zone_twice"),
        ({"lon": "120.1"}, "lat", "position"),
        ({"lon": "30.3", "lat": "120.1"}, "lat", "number"),
        ({"lon": "nan", "lat": "1"}, "lon", "number"),
        ({"telephon": "1"}, "telephon", "unknown_column"),
        ({"id": None}, "id", "missing"),
    ],
)
def test_what_is_wrong_is_named_by_its_field(store, values, field, code):
    with store.writing() as session, pytest.raises(PlacesError) as refused:
        shops.add(session, {**SHOP, **values}, AUTHOR, AROUND)
    assert [(one.field, one.code) for one in refused.value.faults] == [(field, code)]
    assert all(refused.value.faults[0].text)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("13800000000", "13800000000"),
        ("+86 138-0000-0000", "13800000000"),
        ("0086 13800000000", "13800000000"),
        ("１３８００００００００", "13800000000"),
        ("(0571) 88001234", "057188001234"),
        ("+86 571 88001234", "057188001234"),
        ("400-123-4567", "4001234567"),
        ("+852 2123 4567", "+85221234567"),
    ],
)
def test_telephone_numbers_are_kept_as_they_are_dialled(text, kept):
    assert fields.phone(text) == kept


def test_rare_names_are_names():
    """The last sign came with Unicode 15, and Python 3.11 knows 14."""
    assert fields.text("𠮷野𱍐㐂") == "𠮷野𱍐㐂"
    assert fields.text("\U00031350") == "\U00031350"


def test_a_zone_has_one_shop(desk):
    add(desk)
    with pytest.raises(PlacesError, match="box-1/cam-1/front is shop tea-12's"):
        add(desk, id="noodle-3")
    add(desk, id="noodle-3", zones="box-1/cam-1/side")
    # two shops exchange theirs in one file
    report = take(
        desk, sheet(("tea-12", "box-1/cam-1/side"), ("noodle-3", "box-1/cam-1/front"), head=("编号", "zones"))
    )
    assert (told(report), report.changed) == ([], 2)
    assert desk.read(shops.owner_of, "box-1", "cam-1", "side") == "tea-12"
    # a shop that has closed has none
    change(desk, "tea-12", state="停业")
    add(desk, id="new-1", zones="box-1/cam-1/side")
    with pytest.raises(PlacesError, match="zone has one shop"):
        change(desk, "tea-12", state="active")


def test_a_file_is_taken_whole_and_changes_nothing_again(desk):
    content = sheet(
        ("tea-12", "示例茶铺", "s", "13800000000", "box-1/cam-1/front"), ("noodle-3", "示例面馆", "s", "", "")
    )
    dry = take(desk, content, dry_run=True)
    assert (dry.good, dry.added, counts(desk)) == (True, 2, [0, 0, 0])
    report = take(desk, content)
    assert (report.good, report.added, report.how) == (True, 2, "CSV, UTF-8, comma")
    assert [(one.row, one.code) for one in report.warnings if one.code == "no_contact"] == [(3, "no_contact")]
    assert counts(desk) == [2, 1, 2]
    assert take(desk, content).unchanged == 2
    assert counts(desk) == [2, 1, 2]
    assert desk.read(history, "shop", "tea-12")[0]["source"] == report.source


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030", "utf-16"])
@pytest.mark.parametrize(
    "head", [("店铺编号", "店铺名称", "街道", "电话"), ("ID", "Shop name", "street", "Phone (mobile)")]
)
def test_headings_and_encodings_that_people_use(store, encoding, head):
    content = ",".join(head) + "\r\ntea-12,示例茶铺（总店）,s,13800000000\r\n"
    with store.writing() as session:
        report = import_file(session, SHOPS, content.encode(encoding), AUTHOR, AROUND)
        assert (told(report), shops.find(session, "tea-12").name) == ([], "示例茶铺（总店）")
        session.rollback()


BAD = [
    (
        sheet(("tea-12", "a", "s", "1", ""), ("noodle 3", "b", "s", "", "x")),
        [(2, "phone", "phone"), (3, "id", "id"), (3, "zones", "zone")],
    ),
    (sheet(("tea-12", "a", "s", "", ""), ("tea-12", "b", "s", "", "")), [(3, "id", "twice")]),
    (sheet(("tea-12", "a", "s", "", "b/c/z"), ("noodle-3", "b", "s", "", "b/c/z")), [(3, "zones", "zone_taken")]),
    (sheet(("tea-12", "a", ""), head=("编号", "名称", "街道")), [(2, "street", "missing")]),
    (sheet(("tea-12", "a"), head=("编号", "名称")), [(2, "street", "missing")]),
    (sheet(("a", "s"), head=("名称", "街道")), [(1, None, "missing_column")]),
    (sheet(("tea-12", "1"), head=("编号", "电活")), [(1, "电活", "unknown_column")]),
    (sheet(("tea-12", "1", "2"), head=("编号", "电话", "手机")), [(1, "phone", "column_twice")]),
    (sheet(("tea-12", "a", "b"), head=("编号", "名称")), [(2, None, "cells"), (2, "street", "missing")]),
    # all that is wrong with a row, and nothing that only follows from a cell that cannot be read
    (
        sheet(("tea-12", "a", "", "", "b/c/y"), ("noodle-3", "", "X", "1", "b/c/y"), ("silk-1", "", "s", "", "b/c/y")),
        [
            *[(2, "street", "missing"), (3, "name", "missing"), (3, "street", "id"), (3, "phone", "phone")],
            *[(3, "zones", "zone_taken"), (4, "name", "missing"), (4, "zones", "zone_taken")],
        ],
    ),
    (b"", [(None, None, "empty")]),
    (b"\r\n,,\r\n", [(None, None, "empty")]),
    (write_csv([["编号", "名称", "街道"], ["tea-12", "茶铺", "s"]]).replace(b",", b"|"), [(None, None, "separator")]),
]


@pytest.mark.parametrize(("content", "expected"), BAD)
def test_a_bad_row_is_named_and_nothing_is_taken(store, content, expected):
    with store.writing() as session:
        report = import_file(session, SHOPS, content, AUTHOR, AROUND)
        assert told(report) == expected
        assert all(str(one) for one in report.faults)
        assert session.scalar(select(func.count()).select_from(PlaceRevision)) == 0


def test_what_a_file_has_no_column_for_stays(desk):
    add(desk)
    assert take(desk, sheet(("tea-12", "新名"), head=("编号", "名称"))).changed == 1
    found = desk.read(shops.find, "tea-12")
    assert (found.name, found.phone, found.owner) == ("新名", "13800000000", "张三")


def test_an_empty_state_opens_no_closed_shop(desk):
    add(desk)
    change(desk, state="closed")
    report = take(desk, sheet(("tea-12", "新名", ""), head=("编号", "名称", "状态")))
    assert (told(report), report.changed) == ([], 1)
    assert desk.read(shops.find, "tea-12").state == "closed"


@pytest.mark.parametrize("write", [write_csv, lambda rows: write_workbook(rows, "店铺")])
def test_what_is_exported_is_imported_as_it_was(desk, write):
    add(desk, note="+1 号门", owner="@张", lon="120.1350001", lat="-0.0000001", other_phone="+852 2123 4567")
    add(desk, id="noodle-3", zones="", state="closed", language="en", name="-面- 'x'")
    content = write(export_rows(SHOPS, desk.read(shops.listed)))
    report = take(desk, content)
    assert (told(report), report.unchanged, report.changed) == ([], 2, 0)


def test_what_is_known_of_people_can_be_deleted(desk):
    add(desk)
    change(desk, phone="13900000000")
    with desk.store.writing() as session, pytest.raises(PlacesError, match="close it first"):
        shops.forget(session, "tea-12", AUTHOR, AROUND)
    desk.write(shops.close, "tea-12", AUTHOR, AROUND)
    desk.write(shops.forget, "tea-12", AUTHOR, AROUND)
    found = desk.read(shops.find, "tea-12")
    assert (found.phone, found.owner, found.name) == ("", "", "示例茶铺")
    lines = desk.read(history, "shop", "tea-12")
    assert [one["action"] for one in lines] == ["forgotten", "closed", "changed", "added"]
    everything = json.dumps(lines, ensure_ascii=False)
    assert not any(text in everything for text in ("张三", "13800000000", "13900000000"))


STANDING = [
    # what the box says, what the register has, who is told, the warning
    ("tea-12", "tea-12", "tea-12", ""),
    ("tea-12", None, "tea-12", ""),
    ("tea-12", "noodle-3", None, "contradiction"),
    ("nobody", None, None, "unregistered"),
    ("nobody", "noodle-3", None, "contradiction"),
    ("gone-1", None, None, "closed"),
    ("gone-1", "noodle-3", None, "contradiction"),
    (None, "noodle-3", "noodle-3", "from_register"),
    (None, None, None, ""),
]


@pytest.mark.parametrize(("said", "registered", "tell", "code"), STANDING)
def test_a_notice_goes_to_no_wrong_shop(desk, said, registered, tell, code):
    for shop in ("tea-12", "noodle-3", "gone-1"):
        add(desk, id=shop, zones="box-1/cam-1/front" if shop == registered else "")
    change(desk, "gone-1", state="closed")
    found = desk.read(standing, said, "box-1", "cam-1", "front")
    assert (found.said, found.registered, found.tell and found.tell.id, found.code) == (said, registered, tell, code)
    assert bool(found.warning) == bool(code)
    assert "138" not in json.dumps(found.as_json(), ensure_ascii=False)


def test_where_register_and_settings_disagree_is_listed(desk):
    desk.write(box, zones={("cam-1", "front"): "tea-12", ("cam-1", "side"): "nobody", ("cam-1", "back"): None})
    _, warnings = add(desk, zones="box-1/cam-1/front; box-1/cam-1/back; box-1/cam-9/front")
    assert sorted(one.code for one in warnings) == ["contradiction", "zone_unknown"]
    found = {(one.zone, one.code) for one in desk.read(disagreements)}
    assert found == {
        ("box-1/cam-1/side", "unregistered"),
        ("box-1/cam-1/back", "from_register"),
        ("box-1/cam-9/front", "zone_unknown"),
    }
    with pytest.raises(PlacesError, match="is of a box of street s, the shop of other"):
        add(desk, id="far-1", street="other", zones="box-1/cam-1/side")


def test_the_tickets_of_a_shop_are_looked_at_again(desk, monkeypatch):
    looked = []
    monkeypatch.setattr(shops, "look_again", lambda _session, numbers: looked.append(list(numbers)))
    desk.take(Case(shop="tea-12").opened(), Case(number=2, shop=None, zone="side").opened())
    add(desk)
    change(desk, zones="box-1/cam-1/side")
    change(desk, zones="")
    add(desk, id="noodle-3", zones="")
    assert looked == [[1], [1, 2], [1, 2], []]


def test_of_two_who_claim_a_zone_at_once_one_gets_it(desk):
    """Each with a connection of its own: what was checked is still so when it is written."""

    def claim(shop):
        try:
            add(desk, id=shop)
        except PlacesError as fault:
            return fault.code
        return "kept"

    for _ in range(3):
        told = at_once(*(partial(claim, shop) for shop in ("tea-12", "noodle-3")))
        assert sorted(told) == ["kept", "zone_taken"]
        with desk.store.writing() as session:
            winner = shops.owner_of(session, "box-1", "cam-1", "front")
            session.delete(session.get(ShopZone, ("box-1", "cam-1", "front")))
            session.flush()
            session.delete(session.get(ShopRow, winner))
            session.execute(delete(PlaceRevision))


CELLS = [
    *("", "tea-12", "noodle-3", "s", "13800000000", "box-1/cam-1/front", "120.1"),
    *("=1", "营业", "closed", "茶铺", "zh", "a@b.cn"),
]
cell = st.text(max_size=6) | st.sampled_from(CELLS)
table = st.lists(st.lists(cell, min_size=1, max_size=8), min_size=1, max_size=6)


def broken(rows, head, spoil, at):
    content = bytearray(write_csv([head, *rows]))
    for place, value in zip(at, spoil, strict=False):
        content[place % len(content)] = value
    return bytes(content)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(
    table,
    st.lists(st.sampled_from(HEAD), min_size=1, max_size=8),
    st.binary(max_size=3),
    st.lists(st.integers(0, 999), max_size=3),
)
def test_no_file_is_taken_by_half_or_breaks_the_import(store, rows, head, spoil, at):
    content = broken([row[: len(head)] for row in rows], ["店铺编号", *head], spoil, at)
    with store.writing() as session:
        before = session.scalar(select(func.count()).select_from(PlaceRevision))
        report = import_file(session, SHOPS, content, AUTHOR, AROUND)
        after = session.scalar(select(func.count()).select_from(PlaceRevision))
        assert after - before == (report.added + report.changed if report.good else 0)
        assert session.scalar(select(func.count()).select_from(ShopRow)) == len(shops.listed(session))
        for fault in report.faults:
            assert str(fault)
            json.dumps(fault.as_json()).encode()


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | cell
anything = (
    scalars | st.lists(scalars | st.lists(scalars, max_size=2), max_size=3) | st.dictionaries(cell, cell, max_size=2)
)
fields_of = st.sampled_from([column.field for column in COLUMNS] + ["x"])


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(fields_of, anything, max_size=6))
def test_no_json_breaks_a_change(store, values):
    with store.writing() as session:
        try:
            found, _ = register.change(session, SHOPS, {**SHOP, **values}, AUTHOR, AROUND)
        except PlacesError as refused:
            told = [one.as_json() for one in refused.faults]
        else:
            told = [found.key, history(session, "shop", found.key)]
        json.dumps(told).encode()
        session.rollback()


good = st.fixed_dictionaries(
    {
        "id": st.from_regex(r"[a-z0-9][a-z0-9-]{0,8}", fullmatch=True),
        "name": st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=9).filter(
            lambda one: one[0] not in "=＝"
        ),
        "lon": st.floats(-180, 180, allow_nan=False).map(lambda one: round(one, 7)),
        "lat": st.floats(-90, 90, allow_nan=False).map(lambda one: round(one, 7)),
        "state": st.sampled_from(["active", "closed"]),
    }
)


@settings(deadline=None, max_examples=50)
@given(st.lists(good, max_size=5, unique_by=lambda one: one["id"]))
def test_a_register_survives_its_own_files(store, rows):
    with store.writing() as session:
        for values in rows:
            register.change(session, SHOPS, {"street": "s", **values}, AUTHOR, AROUND)
        everything = export_rows(SHOPS, shops.listed(session))
        for content in (write_csv(everything), write_workbook(everything, "店铺")):
            report = import_file(session, SHOPS, content, AUTHOR, AROUND)
            assert (told(report), report.unchanged) == ([], len(everything) - 1)
