"""Open311 GeoReport v2 as its specification has it (https://wiki.open311.org/GeoReport_v2), in both formats."""

import json
import re
import time
import xml.etree.ElementTree as ET
from datetime import timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.boxes.limits import LOOKS
from collector.exchange import open311
from collector.exchange.open311 import Open311Error, read_wanted
from collector.exchange.reports import take
from collector.exchange.settings import ExchangeSection, Open311Section
from collector.places import shops
from collector.places.codes import load_codes
from protocol.instants import from_epoch
from tests.collector.exchange.test_people_reports import SHOP, Report
from tests.collector.tickets.conftest import LI
from tests.people import bearer, browser, center_settings, make_pages, make_person, sign_in
from tests.places import AROUND, AUTHOR

CODES = load_codes()
W3 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)")
ID = re.compile(r"[0-9]+")
ANY, DEGREES = re.compile(r"(?s).*"), re.compile(r"-?\d+(\.\d+)?")
FIELDS = {
    # of a document: its root, its items, and of each field whether it may be missing or empty, and what it is
    "services": ("services", "service", {
        "service_code": ID, "service_name": ANY, "description": ANY, "metadata": re.compile("true|false"),
        "type": re.compile("realtime|batch|blackbox"), "keywords": ANY, "group": ANY,
    }),
    "requests": ("service_requests", "request", {
        "service_request_id": ID, "status": re.compile("open|closed"), "status_notes?": ANY, "service_name": ANY,
        "service_code": ID, "description?": re.compile("(?s)[^<>]{0,4000}"), "agency_responsible?": ANY,
        "service_notice?": ANY, "requested_datetime": W3, "updated_datetime": W3, "expected_datetime?": W3,
        "address?": ANY, "address_id?": ANY, "zipcode?": ANY, "lat?": DEGREES, "long?": DEGREES, "media_url?": ANY,
    }),
    "made": ("service_requests", "request", {"service_request_id": ID, "service_notice?": ANY, "account_id?": ANY}),
    "token": ("service_requests", "request", {"service_request_id": ID, "token": ID}),
    "errors": ("errors", "error", {"code": re.compile(r"\d{3}"), "description": re.compile(".+")}),
}  # fmt: skip


def read(answer, kind):
    """What a document has, after it was held against the specification; the same of either format."""
    root, item, fields = FIELDS[kind]
    if answer.headers["content-type"] == "application/json; charset=utf-8":
        records = json.loads(answer.content.decode("utf-8", "strict"))
        assert isinstance(records, list)
        assert all(isinstance(one.get("metadata", False), bool) for one in records)
        texts = [
            {name: "" if value is None else str(value).lower() if value in (True, False) else str(value)
             for name, value in one.items()}
            for one in records
        ]  # fmt: skip
    else:
        assert answer.headers["content-type"] == "text/xml; charset=utf-8"
        assert answer.content.startswith(b'<?xml version="1.0" encoding="utf-8"?>')
        top = ET.fromstring(answer.content)  # noqa: S314 - our own
        assert (top.tag, top.attrib, {one.tag for one in top} - {item}) == (root, {}, set())
        texts = [{field.tag: field.text or "" for field in one} for one in top]
        assert all(not field.attrib and not len(field) for one in top for field in one)
    for one in texts:
        assert set(one) <= {name.rstrip("?") for name in fields}, one
        for name, shape in fields.items():
            text = one.get(name.rstrip("?"), "")
            assert (name.endswith("?") and not text) or shape.fullmatch(text), (name, text)
    return texts


class Town:
    """A center with Open311, and somebody who calls it."""

    def __init__(self, street, **section):
        self.street = street
        street.true_s = time.time()
        street.desk.write(shops.add, SHOP, AUTHOR, AROUND)
        exchange = ExchangeSection(open311=Open311Section(**{"enabled": True} | section))
        make_person(street.desk.store, "li", "operator@s")
        make_person(street.desk.store, "wu", "viewer@s")
        self.client = browser(make_pages(street.desk, settings=center_settings(exchange=exchange)))

    def key(self, person="li"):
        return bearer(self.street.desk.store, person)["authorization"].removeprefix("Bearer ")

    def get(self, path, kind, status=200, **query):
        both = []
        for form in ("xml", "json"):
            answer = self.client.get(f"/open311/v2/{path}.{form}", params=query)
            assert answer.status_code == status, answer.text
            both.append(read(answer, kind))
        assert both[0] == both[1]
        return both[0]

    def post(self, status=201, form="xml", kind="made", **fields):
        answer = self.client.post(f"/open311/v2/requests.{form}", data=fields)
        assert answer.status_code == status, answer.text
        return read(answer, kind)


ASKED = {"service_code": "0504", "jurisdiction_id": "s", "lat": "30.3112", "long": "120.1403", "description": "货架"}


def test_services_are_the_events_of_the_table_of_codes(street):
    town = Town(street)
    found = {one["service_code"]: one for one in town.get("services", "services")}
    assert found["0504"]["service_name"] == "店外经营"
    assert found["0504"]["group"] == "街面秩序"
    definition = town.client.get("/open311/v2/services/0504.json")
    assert definition.json() == {"service_code": "0504", "attributes": []}
    top = ET.fromstring(town.client.get("/open311/v2/services/0504.xml").content)  # noqa: S314 - our own
    assert [top.tag, *(one.tag for one in top)] == ["service_definition", "service_code", "attributes"]
    town.get("services/9999", "errors", 404)
    town.get("services", "errors", 404, jurisdiction_id="nowhere")


@pytest.mark.parametrize("form", ["xml", "json"])
def test_a_request_with_a_key_becomes_a_ticket_and_is_followed(street, form):
    town = Town(street)
    (made,) = town.post(form=form, api_key=town.key(), first_name="Ann", phone="13800000000", **ASKED)
    number = made["service_request_id"]
    ticket = street.ticket(int(number))
    got = (ticket.source, ticket.state, ticket.rule, ticket.street)
    assert got == ("public", "pending_review", "encroachment", "s")
    (token,) = town.get(f"tokens/{number}", "token")
    assert token == {"service_request_id": number, "token": number}
    (shown,) = town.get(f"requests/{number}", "requests", api_key=town.key())
    got = (shown["status"], shown["description"], shown["lat"], shown["service_name"])
    assert got == ("open", "货架", "30.3112", "店外经营")
    street.act(LI, "false_alarm", reason="nothing there")
    (shown,) = town.get(f"requests/{number}", "requests")
    assert (shown["status"], shown["status_notes"]) == ("closed", "误报")


def test_without_a_key_no_words_no_shop_no_camera(street):
    town = Town(street)
    street.desk.write(
        take, LI, Report("hotline", "0504", shop="shop-9", description="茶铺老板 13800000000"), CODES, street.now_ms
    )
    street.appears()
    answers = [town.client.get(f"/open311/v2/{path}").text for path in ("requests.xml", "requests/1.json")]
    for text in answers:
        for secret in ("茶铺", "13800000000", "示例路", "shop-9", "jpg", "cam-1"):
            assert secret not in text
    (public,) = town.get("requests", "requests")
    assert (public["lat"], public["long"]) == ("30.31", "120.14")
    town.get("requests/2", "errors", 404)
    assert [one["service_request_id"] for one in town.get("requests", "requests", api_key=town.key())] == ["2", "1"]


def test_a_key_is_needed_and_has_to_be_good(street):
    town = Town(street)
    for form in ("xml", "json"):
        for key in ({}, {"api_key": "cet_x"}, {"api_key": town.key("wu")}):
            town.post(403, form, "errors", **key, **ASKED)
    assert [one["code"] for one in town.get("requests", "errors", 403, api_key="none")] == ["403"]
    # a session is no key: a page elsewhere could send its cookie along
    sign_in(street.desk.store, "li", town.client)
    town.post(403, "xml", "errors", **ASKED)


def test_anybody_may_report_a_few_times_where_allowed(street):
    town = Town(street, anonymous=True, jurisdictions={"xiaohe.gov.cn": "s"})
    asked = ASKED | {"jurisdiction_id": "xiaohe.gov.cn"}
    made = [town.post(**asked) for _ in range(10)]
    assert len({one[0]["service_request_id"] for one in made}) == 10
    town.post(429, "xml", "errors", **asked)
    town.post(201, "xml", "made", api_key=town.key(), **asked)
    town.get("requests", "errors", 404, jurisdiction_id="s")
    assert street.ticket(1).source == "public"


def test_without_a_key_an_address_may_look_so_often_a_minute(street, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("collector.web.open311_pages.time", SimpleNamespace(monotonic=lambda: clock[0]))
    town = Town(street, anonymous=True)
    town.post(**ASKED)
    paths = [f"/open311/v2/{one}.xml" for one in ("services", "services/0504", "requests", "requests/1", "tokens/1")]
    assert {town.client.get(path).status_code for path in paths * (LOOKS // len(paths))} == {200}
    clock[0] = 12.5
    for path in paths:
        answer = town.client.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "48")
        assert read(answer, "errors")[0]["code"] == "429"
    town.get("requests", "requests", api_key=town.key())
    clock[0] = 60.0
    assert {town.client.get(path).status_code for path in paths} == {200}


@pytest.mark.parametrize(
    ("status", "named", "fields"),
    [
        (404, "service_code", {"service_code": "9999"}),
        (404, "service_code", {"service_code": ""}),
        (404, "jurisdiction_id", {"jurisdiction_id": "nowhere"}),
        (400, "address_string", {"lat": "", "long": ""}),
        (400, "lat", {"lat": "north"}),
        (400, "lat", {"lat": "91"}),
        (400, "long", {"long": "nan"}),
        (400, "lat", {"lat": ""}),
        (400, "description", {"description": "x" * 2001}),
        (400, "cell", {"address_id": "330105001001001"}),
    ],
)
def test_what_is_wrong_with_a_request_is_named(street, status, named, fields):
    town = Town(street)
    (fault,) = town.post(status, "json", "errors", api_key=town.key(), **ASKED | fields)
    assert named in fault["description"]
    assert town.client.post("/open311/v2/requests.xml", json={}).status_code == 400


def test_a_search_goes_by_what_the_specification_names(street):
    town = Town(street)
    for code in ("0504", "0501"):
        street.desk.write(take, LI, Report("public", code, "s", address="1"), CODES, street.now_ms)
        street.wait(60)
    street.act(LI, "false_alarm", number=2, reason="nothing")
    desk_now = from_epoch(street.now_ms / 1000)

    def found(**query):
        wanted = read_wanted(query, "", desk_now)
        rows = street.desk.read(open311.requests, wanted, CODES, "x", None, public=True)
        return [one["service_request_id"] for one in rows]

    assert found() == ["2", "1"]
    assert found(status="open") == ["1"]
    assert found(status="open, closed") == ["2", "1"]
    assert found(service_code="0501,0502") == ["2"]
    assert found(service_request_id="1,7", status="closed") == ["1"]
    half = (desk_now - timedelta(minutes=80)).strftime("%Y-%m-%dT%H:%M:%S+00:00")
    assert found(start_date=half) == ["2"]
    assert found(start_date=half.replace("+", " ")) == ["2"]  # a + that nobody has escaped
    assert found(end_date=half) == ["1"]
    assert found(start_date="2026-01-01T00:00:00Z", end_date="2026-02-01T00:00:00Z") == []
    for wrong in (
        {"start_date": "2026-01-01T00:00:00Z", "end_date": "2026-05-01T00:00:00Z"},
        {"start_date": "2026-02-01T00:00:00Z", "end_date": "2026-01-01T00:00:00Z"},
        {"start_date": "yesterday"},
        {"end_date": "0001-01-01T00:00:00Z"},
        {"start_date": "9999-12-31"},
    ):
        town.get("requests", "errors", 400, **wrong)


def test_a_state_that_there_is_not_is_refused():
    with pytest.raises(Open311Error) as fault:
        read_wanted({"status": "done"}, "", from_epoch(1_800_000_000))
    assert (fault.value.status, "open, closed" in fault.value.text) == (400, True)


def test_a_center_that_does_not_want_it_has_none(street):
    town = Town(street, enabled=False)
    town.get("services", "errors", 404)
    town.get("requests", "errors", 404)
    assert town.client.get("/open311/v2/services.html").status_code == 404


@settings(max_examples=200, deadline=None)
@given(st.text(), st.sampled_from(["start_date", "end_date", "status", "service_request_id", "service_code"]))
def test_whatever_is_asked_is_read_or_refused(text, name):
    try:
        wanted = read_wanted({name: text}, "", from_epoch(1_800_000_000))
    except Open311Error as fault:
        assert fault.status == 400  # noqa: PT017 - both ends are good
    else:
        assert wanted.from_ms <= wanted.until_ms


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_whatever_people_wrote_is_a_document(text):
    record = {"description": text, "lat": None, "metadata": True}
    top = ET.fromstring(open311.listed("xml", "a", "b", [record]))  # noqa: S314 - our own
    assert top[0][2].text == "true"
    assert json.loads(open311.listed("json", "a", "b", [record])) == [record]
