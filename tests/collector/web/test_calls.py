"""Every call of the pages tried by every role and by nobody: whatever routes there are, found by themselves."""

import re

import pytest
from fastapi import FastAPI

from collector.people.actor import Role
from collector.people.rights import MAY, OWN, PUBLIC, TABLE
from collector.web import calls as table
from collector.web.rights import calls, needs, seal
from tests.collector.conftest import Desk
from tests.people import bearer, browser, make_pages, make_person, sign_in
from tests.services import ROOT

HERE = re.compile(r"\{[^}]*\}")


@pytest.fixture(scope="module")
def center(tmp_path_factory):
    """A center with one person of each role, one without any, and a client for each."""
    desk = Desk(tmp_path_factory.mktemp("center"))
    app = make_pages(desk, url=None)
    for role in Role:
        make_person(desk.store, role, f"{role}@s")
    make_person(desk.store, "nobody-yet")
    yield desk, app
    desk.store.close()


def all_calls():
    return list(calls(table.application().routes))


def call(client, one, **options):
    """Make a call with whatever its path asks for; nothing that exists is hit."""
    path = HERE.sub("1", one.path).replace("…", "style.css")
    return client.request(one.method, path, json={} if one.method in ("POST", "PUT", "PATCH") else None, **options)


def refused(answer):
    """Whether it was the gate that said no, and not what stands behind it."""
    return answer.status_code == 401 or (answer.status_code == 403 and "x-cityeye-needs" in answer.headers)


def is_public(one):
    return one.rights == (PUBLIC,)


@pytest.mark.parametrize("role", [*Role, "nobody-yet"])
@pytest.mark.parametrize("way", ["session", "token"])
def test_each_role_gets_what_its_rights_say_and_nothing_else(center, role, way):
    desk, app = center
    wrong, tried = [], 0
    for one in calls(app.routes):
        client = browser(app, address="192.0.2.1")
        options = {}
        if way == "session":
            sign_in(desk.store, role, client)
        elif role == "nobody-yet":
            pytest.skip("who has no role has no token")
        else:
            options = {"headers": bearer(desk.store, role)}
        expected = all(
            right == PUBLIC or (way == "session" if right == OWN else role in MAY[right]) for right in one.rights
        )
        if is_public(one) and way == "token" and one.method != "GET":
            continue  # signing in is for browsers
        tried += 1
        if refused(call(client, one, **options)) == expected:
            wrong.append(f"{one.method} {one.path} ({', '.join(one.rights)}): expected {expected}")
    assert wrong == []
    assert tried > 30


def test_nobody_gets_anything_but_what_is_public(center):
    _, app = center
    for one in calls(app.routes):
        for credentials in ({}, {"authorization": "Bearer cet_x"}, {"cookie": "cityeye=made-up"}):
            client = browser(app, address="192.0.2.1")
            headers = {"sec-fetch-site": "same-origin", **credentials}
            answer = call(client, one, headers=headers)
            assert refused(answer) != is_public(one), (one, answer.status_code, answer.text[:200])
            if not is_public(one):
                assert answer.status_code == 401


def test_no_change_by_cookie_without_token_and_page_of_this_center(center):
    desk, app = center
    for role in Role:
        for one in calls(app.routes):
            if one.method == "GET" or is_public(one):
                continue
            for taken_away in ("x-csrf-token", "sec-fetch-site"):
                client = browser(app)
                sign_in(desk.store, role, client)
                del client.headers[taken_away]
                answer = call(client, one)
                assert answer.status_code == 403, (one, role, taken_away)
                assert "x-cityeye-needs" in answer.headers


def test_a_right_at_one_street_opens_nothing_of_another(center):
    """What a role sees of a street without boxes is empty, never that of another."""
    desk, app = center
    from tests import incidents  # noqa: PLC0415 - for this test
    from tests.incidents import Case  # noqa: PLC0415 - for this test

    case = Case(site="elsewhere", box="box-9")
    desk.take(incidents.status(box="box-9", site="elsewhere"), case.picture("at", "close"), case.opened())
    sha256 = case.pictures[0][0].sha256
    for role in sorted(MAY["tickets.read"]):
        client = browser(app)
        sign_in(desk.store, role, client)
        for path in ("/tickets", "/api/tickets"):
            answer = client.get(path)
            assert answer.status_code == 200
            assert "box-9" not in answer.text, (role, path)
            assert sha256 not in answer.text
        for path in ("/tickets/1", "/api/tickets/1", f"/evidence/{sha256}.jpg"):
            assert client.get(path).status_code == 404, (role, path)
        done = client.post(f"/evidence/{sha256}/original", data={"reason": "to see it"})
        assert done.status_code in (403, 404)
    make_person(desk.store, "both", "operator@s", "officer@elsewhere")
    client = browser(app)
    sign_in(desk.store, "both", client)
    assert client.get("/tickets/1").status_code == 200
    assert client.get(f"/evidence/{sha256}.jpg").status_code == 200


def test_a_route_without_a_right_keeps_the_pages_from_starting():
    app = FastAPI(openapi_url=None)

    @app.get("/good", dependencies=[needs("tickets.read")])
    def good():
        pass

    seal(app.routes)

    @app.post("/api/forgotten")
    def forgotten():
        pass

    with pytest.raises(RuntimeError, match="POST /api/forgotten"):
        seal(app.routes)


def test_an_unknown_right_is_a_mistake_of_its_route():
    with pytest.raises(ValueError, match="expected a right"):
        needs("tickets.everything")


def test_the_table_in_the_docs_is_the_one_in_force():
    kept = (ROOT / "docs/ref/rights.md").read_text("utf-8")
    assert kept == table.page(all_calls()), "run: make docs"
    assert TABLE.split()[1] in kept
