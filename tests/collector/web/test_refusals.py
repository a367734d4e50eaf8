"""What is refused says why, in both languages, whatever comes; what lost a race is tried again."""

import json
import threading
from urllib.parse import quote

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from collector.again import TRIES, Again
from collector.store import lock
from collector.web.rights import calls
from tests import incidents
from tests.incidents import Case
from tests.people import bearer, browser, make_pages, make_person, sign_in

JSON = {"content-type": "application/json"}
ODD = ["\x00", "a\x00b", "9" * 30, "-" + "9" * 30, "\N{GRINNING FACE}" * 40, "%ff", "..", "nan"]
ASKED = ["before", "ticket", "since", "after", "limit", "of", "by", "street", "shop", "first", "go_on"]
BODIES = [
    "{",
    '{"reason": "a\\u0000b", "name": "\\u0000", "seen": 1}',
    '{"reason": "\\ud800", "name": "\\ud800"}',
    '{"seen": 99999999999999999999999999, "args": {"of": 99999999999999999999999999}}',
    '{"args": {"\\ud800": {"deep": ["\\u0000"]}}, "policy": {"region": "\\ud800"}}',
    '{"seen": NaN, "based_on": Infinity, "days": NaN}',
    '{"until": "0001-01-01T00:00:00+23:59", "box": "b", "camera": "c", "reason": "x"}',
    "[" * 50_000,
    "[]",
]


@pytest.fixture
def center(desk):
    """A center with one ticket, and an operator and a viewer of its street."""
    case = Case(shop="shop-1")
    desk.take(incidents.status(), case.opened())
    make_person(desk.store, "boss", "admin@*", "auditor@*")
    make_person(desk.store, "li", "operator@s")
    make_person(desk.store, "vera", "viewer@s")
    return desk, make_pages(desk)


def signed_in(center, person):
    desk, app = center
    client = browser(app)
    sign_in(desk.store, person, client)
    return client


def test_no_call_breaks_whatever_it_is_sent(center):
    client, broken = signed_in(center, "boss"), []
    for one in calls(center[1].routes):
        if one.path.startswith("/static") or one.path == "/events":
            continue
        names = [part.split("}")[0] for part in one.path.split("{")[1:]]
        for turn in range(max(len(ODD), len(BODIES))):
            path, odd = one.path, ODD[turn % len(ODD)]
            for name in names:
                path = path.replace(f"{{{name}}}", quote(odd, safe=""))
            query = "&".join(f"{name}={quote(odd, safe='')}" for name in ASKED)
            body = {} if one.method == "GET" else {"content": BODIES[turn % len(BODIES)], "headers": JSON}
            answer = client.request(one.method, f"{path}?{query}", **body)
            if answer.status_code >= 500:
                broken.append((one.method, path, odd, body.get("content", "")[:60], answer.status_code))
    assert broken == []


@pytest.mark.parametrize(
    ("who", "body", "status", "code", "may"),
    [
        ("li", "{", 422, "invalid", True),
        ("li", b"\xff{}", 400, "invalid", True),
        ("li", '{"seen": "first"}', 422, "invalid", True),
        ("li", '{"seen": 1, "why": "x"}', 422, "invalid", True),
        ("li", '{"seen": 1, "reason": "\\u0000"}', 422, "invalid", True),
        ("li", "{}", 422, "missing", True),  # at a page one says what one looked at
        ("li", '{"seen": 9}', 409, "changed", True),
        ("vera", '{"seen": 1}', 403, "not_yours", False),
    ],
)
def test_a_refused_step_says_why_in_both_languages(center, who, body, status, code, may):
    answer = signed_in(center, who).post("/api/tickets/1/confirm", content=body, headers=JSON)
    found = answer.json()
    assert (answer.status_code, found["code"]) == (status, code)
    assert found["detail"].isascii()
    assert not found["detail_zh"].isascii()
    assert ("confirm" in found["allowed"]) == may


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/tickets/99", 404, "unknown"),
        ("GET", "/api/nothing", 404, "unknown"),
        ("GET", f"/api/tickets/{10**30}", 422, "invalid"),
        ("DELETE", "/api/tickets/1", 405, "unknown_method"),
        ("GET", "/api/people", 403, "not_yours"),
        ("GET", "/api/tickets?before=x", 422, "invalid"),
        ("GET", "/api/calendar?first=9999-12-31", 200, None),
    ],
)
def test_every_refusal_has_a_code(center, method, path, status, code):
    answer = signed_in(center, "li").request(method, path)
    assert answer.status_code == status
    assert answer.json().get("code") == code


def test_a_request_that_may_be_another_sites_says_so(center):
    client = signed_in(center, "li")
    del client.headers["x-csrf-token"]
    assert client.post("/api/tickets/1/confirm", json={"seen": 1}).json()["code"] == "page_expired"
    client.headers["sec-fetch-site"] = "cross-site"
    assert client.post("/api/tickets/1/confirm", json={"seen": 1}).json()["code"] == "other_site"


def test_a_program_may_leave_out_what_it_saw_and_is_named(center):
    desk, app = center
    headers = bearer(desk.store, "li", "operator@s")
    done = TestClient(app, base_url="http://127.0.0.1").post("/api/tickets/1/confirm", json={}, headers=headers)
    found = done.json()
    assert done.status_code == 200, found
    assert (found["reviewer"], found["reviewed_via"].startswith("token/")) == ("person:li", True)
    (line,) = [one for one in found["events"] if one["kind"] == "confirm"]
    assert (line["author"], line["via"]) == ("person:li", found["reviewed_via"])
    assert found["reviewed_via"] in signed_in(center, "li").get("/tickets/1").text


def test_a_step_at_a_page_names_no_token(center):
    found = signed_in(center, "li").post("/api/tickets/1/confirm", json={"seen": 1}).json()
    assert (found["reviewer"], found["reviewed_via"]) == ("person:li", None)


def test_a_step_that_a_deadlock_threw_back_is_taken(center):
    desk, _ = center
    if not desk.store.shared:
        pytest.skip("SQLite has one writer")
    client, answers = signed_in(center, "li"), []
    step = threading.Thread(
        target=lambda: answers.append(client.post("/api/tickets/1/confirm", json={"seen": 1, "reason": "at once"}))
    )
    with desk.store.writing() as session:
        lock(session, ["audit"])  # which the step wants last
        step.start()
        step.join(0.5)
        lock(session, ["ticket/encroachment/shop/shop-1"])  # which it has: PostgreSQL throws back who waits longest
    step.join(20)
    assert [(one.status_code, one.json()["state"]) for one in answers] == [(200, "noticed")]


class LostError(Exception):
    """As psycopg says it."""

    sqlstate = "40001"


@pytest.mark.parametrize(("losses", "status", "tries"), [(1, 200, 2), (TRIES - 1, 200, TRIES), (9, 503, TRIES)])
def test_a_request_that_loses_a_race_is_tried_again_whole(losses, status, tries):
    app, seen = FastAPI(), []
    app.add_middleware(Again, busy=lambda: PlainTextResponse("busy", 503))

    @app.post("/")
    async def take(request: Request) -> dict[str, int]:
        seen.append(await request.body())
        if len(seen) <= losses:
            raise OperationalError("UPDATE", {}, LostError())
        return {"tries": len(seen)}

    content = json.dumps({"much": "x" * 300_000}).encode()
    answer = TestClient(app).post("/", content=content)
    assert (answer.status_code, seen) == (status, [content] * tries)
