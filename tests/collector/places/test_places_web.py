"""The calls of places, and what a ticket says of its shop."""

import io
import json

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from collector.store import AuditRow
from tests.incidents import Case
from tests.people import at_the_center, bearer, make_pages, make_person
from tests.places import PERMIT, SHOP, box
from tests.services import ROOT

GRID = (ROOT / "config/grid.example.geojson").read_bytes()


@pytest.fixture
def client(desk):
    with at_the_center(desk) as client:
        yield client


def of(desk, name, grant):
    """The center for somebody with this role, by a token of theirs."""
    make_person(desk.store, name, grant)
    return TestClient(make_pages(desk), base_url="http://127.0.0.1", headers=bearer(desk.store, name, grant))


def audited(desk):
    return [(row.action, row.object, row.actor) for row in desk.rows(select(AuditRow).order_by(AuditRow.number))]


def test_a_shop_is_registered_changed_and_closed(desk, client):
    added = client.post("/api/shops", json={**SHOP, "zones": ["box-1/cam-1/front"]})
    assert (added.status_code, added.json()["revision"], added.json()["zones"]) == (201, 1, "box-1/cam-1/front")
    assert [one["code"] for one in added.json()["warnings"]] == ["street", "box"]
    again = client.post("/api/shops", json=SHOP)
    assert (again.status_code, again.json()["faults"][0]["code"]) == (409, "exists")
    changed = client.patch("/api/shops/tea-12", json={"name": "新名", "seen": 1, "reason": "换招牌"})
    assert changed.json()["revision"] == 2
    late = client.patch("/api/shops/tea-12", json={"name": "另一个", "seen": 1})
    assert (late.status_code, late.json()["faults"][0]["code"]) == (409, "changed")
    wrong = client.patch("/api/shops/tea-12", json={"phone": "12", "id": "other"})
    assert (wrong.status_code, wrong.json()["faults"][0]["field"]) == (422, "phone")
    assert client.patch("/api/shops/nobody", json={"name": "x"}).status_code == 404
    assert client.patch("/api/shops/tea-12", json={"seen": "1"}).status_code == 422
    assert client.patch("/api/shops/tea-12", json={"state": "closed"}).json()["state"] == "closed"
    history = client.get("/api/shops/tea-12/history").json()
    assert [one["action"] for one in history] == ["closed", "changed", "added"]
    assert history[1]["reason"] == "换招牌"
    assert client.post("/api/shops/tea-12/forget").json()["owner"] == ""


def test_a_list_shows_nobody_and_a_look_is_on_record(desk, client):
    client.post("/api/shops", json=SHOP)
    listed = client.get("/api/shops").json()
    assert "phone" not in listed[0]
    assert listed[0]["can_be_told"] is True
    assert client.get("/api/shops/tea-12").json()["phone"] == "13800000000"
    assert audited(desk)[-1] == ("shop.looked_at", "shop/tea-12", "system:loopback")
    assert client.get("/api/shops/nobody").status_code == 404


@pytest.mark.parametrize("name", ["shops", "permits"])
def test_the_examples_are_taken_and_come_back(desk, client, name):
    example = (ROOT / f"config/{name}.example.csv").read_bytes()
    if name == "permits":
        client.post("/api/shops/import", content=(ROOT / "config/shops.example.csv").read_bytes())
    dry = client.post(f"/api/{name}/import?dry_run=true", content=example)
    assert (dry.status_code, dry.json()["faults"], dry.json()["taken"]) == (200, [], False)
    report = client.post(f"/api/{name}/import", content=example).json()
    assert (report["taken"], report["added"]) == (True, report["rows"])
    for suffix in ("csv", "xlsx"):
        exported = client.get(f"/api/{name}/export.{suffix}")
        assert exported.headers["content-disposition"] == f'attachment; filename="{name}.{suffix}"'
        assert client.post(f"/api/{name}/import", content=exported.content).json()["unchanged"] == report["rows"]
    assert client.get(f"/api/{name}/export.pdf").status_code == 404
    assert audited(desk)[-1][:2] == (f"{name[:-1]}.exported", f"{name[:-1]}/*")


def test_a_bad_file_is_refused_with_its_rows(desk, client):
    content = "店铺编号,店铺名称,街道\r\ntea-12,茶铺,s\r\nTea,茶铺,s\r\n".encode("gbk")
    refused = client.post("/api/shops/import", content=content)
    assert refused.status_code == 422
    fault = refused.json()["faults"][0]
    assert (fault["row"], fault["field"], fault["column"], fault["code"]) == (3, "id", "店铺编号", "id")
    assert client.get("/api/shops").json() == []
    big = client.post("/api/shops/import", content=io.BytesIO(bytes(9 << 20)))
    assert big.status_code == 413


def test_permits_are_entered_and_withdrawn(desk, client):
    client.post("/api/shops", json=SHOP)
    permit = {**PERMIT, "number": "外摆/7"}
    assert client.post("/api/permits", json=permit).status_code == 201
    place = {"street": "s", "shop": "tea-12", "box": "box-1", "camera": "cam-1", "zone": "front"}
    at = {**place, "at": "2026-05-28T19:00:00+08:00"}
    assert client.get("/api/permits/covering", params=at).json()["number"] == "外摆/7"
    assert client.get("/api/permits/covering", params={**place, "at": "2026-05-28T19:00:00"}).status_code == 422
    assert client.get("/api/permits/covering", params=place | {"at": "2026-05-28T23:00:00+08:00"}).json() is None
    assert client.get("/api/shops/tea-12").json()["permits"] == ["外摆/7"]
    changed = client.patch("/api/permits", json={"number": "外摆/7", "hours": "18:00-21:00"})
    assert (changed.json()["hours"], changed.json()["revision"]) == ("18:00-21:00", 2)
    gone = client.post("/api/permits/withdraw", json={"number": "外摆/7", "reason": "投诉"})
    assert gone.json()["state"] == "withdrawn"
    assert client.patch("/api/permits", json={"number": "外摆/7", "hours": "18:00-20:00"}).status_code == 409
    history = client.get("/api/permits/history", params={"number": "外摆/7"}).json()
    assert [one["action"] for one in history] == ["withdrawn", "changed", "added"]
    assert client.get("/api/permits", params={"state": "active"}).json() == []


def test_grid_and_cameras(desk, client):
    assert client.post("/api/grid/import?dry_run=true", content=GRID).json()["added"] == 4
    assert client.post("/api/grid/import", content=GRID).json()["taken"] is True
    found = client.get("/api/grid/at", params={"lon": 120.1305, "lat": 30.3105}).json()
    assert [one["code"] for one in found["cells"]] == ["330105999001001"]
    assert found["gcj02"] != [120.1305, 30.3105]
    assert client.get("/api/grid/at", params={"lon": "nan", "lat": 1}).status_code == 422
    again = client.post("/api/grid/import", content=json.dumps(client.get("/api/grid").json()).encode())
    assert again.json()["unchanged"] == 4
    put = client.put("/api/cameras/box-1/cam-1/place", json={"street": "s", "lon": 120.1305, "lat": 30.3105})
    assert put.json()["lon"] == "120.1305"
    desk.take(Case().opened())
    page = client.get("/tickets/1").text
    assert "330105999001001" in page
    assert 'href="https://uri.amap.com/marker?position=120.135' in page  # in GCJ-02
    assert client.get("/api/tickets/1/place").json()["spot"]["cell"] == "330105999001001"
    assert client.get("/api/cameras/places").json()[0]["in_cell"] == "330105999001001"


def test_a_role_at_one_street_changes_nothing_of_another(desk):
    who = {"li": "operator@s", "wu": "operator@other", "zhao": "admin@*"}
    here, nowhere, everywhere = (of(desk, *one) for one in who.items())
    assert nowhere.post("/api/shops", json=SHOP).status_code == 403
    assert here.post("/api/shops", json=SHOP).status_code == 201
    assert audited(desk)[-1] == ("shop.added", "shop/tea-12", "person:li")
    assert nowhere.get("/api/shops").json() == []
    for path in ("/api/shops/tea-12", "/api/shops/tea-12/history"):
        assert (nowhere.get(path).status_code, here.get(path).status_code) == (404, 200)
    assert nowhere.patch("/api/shops/tea-12", json={"name": "x"}).status_code == 403
    assert nowhere.patch("/api/shops/tea-12", json={"street": "other"}).status_code == 403
    assert nowhere.post("/api/permits", json=PERMIT).status_code == 403
    assert here.post("/api/permits", json=PERMIT).status_code == 201
    assert nowhere.get("/api/permits").json() == []
    assert nowhere.post("/api/permits/withdraw", json={"number": "外摆-7"}).status_code == 403
    assert nowhere.get("/api/permits/history", params={"number": "外摆-7"}).status_code == 404
    csv = "编号,名称\r\ntea-12,x\r\n".encode()
    refused = nowhere.post("/api/shops/import", content=csv)
    assert (refused.status_code, refused.json()["faults"][0]["code"]) == (403, "not_allowed")
    assert b"tea-12" not in nowhere.get("/api/shops/export.csv").content
    assert b"tea-12" in here.get("/api/shops/export.csv").content
    assert here.post("/api/grid/import", content=GRID).status_code == 403
    assert everywhere.post("/api/grid/import", content=GRID).status_code == 200


def test_a_ticket_of_an_unregistered_shop_works_and_says_so(desk, client):
    desk.take(Case(shop="tea-12").opened())
    assert "不在台账中" in client.get("/tickets/1").text
    found = client.get("/api/tickets/1/place").json()
    got = (found["standing"]["shop"], found["standing"]["code"], found["standing"]["tell"])
    assert got == ("tea-12", "unregistered", None)
    client.post("/api/shops", json=SHOP)
    page = client.get("/tickets/1").text
    assert "示例茶铺" in page
    assert "台账" not in page
    found = client.get("/api/tickets/1/place").json()
    assert (found["standing"]["code"], found["standing"]["tell"]) == ("", "tea-12")
    # somebody gives the zone to another shop: the ticket stays what the box said, and nobody is told by itself
    client.patch("/api/shops/tea-12", json={"zones": ""})
    client.post("/api/shops", json={**SHOP, "id": "noodle-3"})
    found = client.get("/api/tickets/1/place").json()
    assert (found["standing"]["shop"], found["standing"]["code"]) == ("tea-12", "contradiction")
    assert "请核对后再提醒" in client.get("/tickets/1").text


def test_what_does_not_agree_with_the_boxes_is_listed(desk, client):
    desk.write(box, zones={("cam-1", "front"): "nobody"})
    client.post("/api/shops", json=SHOP)
    assert [one["code"] for one in client.get("/api/shops/check").json()] == ["contradiction"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("get", "/api/shops/%00", None),
        ("get", "/api/shops?street=%00", None),
        ("get", "/api/shops?after=%00", None),
        ("get", "/api/permits?shop=%00", None),
        ("get", "/api/permits/history?number=%00", None),
        ("get", "/api/permits/covering?street=s&box=%00&camera=c&zone=z", None),
        ("put", "/api/cameras/%00/c/place", {"street": "s"}),
        ("patch", "/api/permits", {"number": "\0", "hours": "全天"}),
        ("post", "/api/shops", {**SHOP, "email": "\0@b.cn"}),
        ("post", "/api/shops", {**SHOP, "note": "\ud800"}),
        ("post", "/api/shops", [SHOP]),
        ("post", "/api/shops/import?encoding=%00", None),
    ],
)
def test_what_no_database_takes_is_refused_before(desk, client, method, path, body):
    answer = client.request(method, path, content=None if body is None else json.dumps(body).encode())
    assert answer.status_code in (404, 422), answer.text
    assert client.post("/api/shops", json={**SHOP, "reason": "a\0b"}).status_code == 422
    assert client.post("/api/shops", json={**SHOP, "reason": "a\x1bb"}).status_code == 201
