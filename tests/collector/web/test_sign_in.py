"""The pages of signing in and of one's own account, as a browser has them; and the API of people."""

import base64
import hashlib
import json
import re
from functools import partial
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from fastapi import Request
from sqlalchemy import update

from collector.evidence.jpeg import size_of
from collector.evidence.previews import QUALITY, WIDEST_PX, encode, preview
from collector.people import audit, roster, sessions, totp
from collector.people.actor import SYSTEM, Grant
from collector.people.vault import Vault
from collector.store import PersonRow, TokenRow
from collector.web import app as application
from collector.web import rights
from collector.web.rights import identify_again
from tests import incidents
from tests.browser import beside
from tests.collector.conftest import Desk
from tests.incidents import Case
from tests.people import PASSWORD, bearer, browser, make_gate, make_pages, make_person, now_ms, sign_in

SAME = {"sec-fetch-site": "same-origin"}
HTML = {"accept": "text/html,*/*"}


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    yield desk
    desk.store.close()


@pytest.fixture
def client(desk):
    make_person(desk.store, "wang", "admin", "officer@s", password=PASSWORD)
    return browser(make_pages(desk))


def give(client, path, **fields):
    """Send a form of a page that is shown."""
    page = client.get("/account")
    fields |= {"csrf": token_of(page)} if 'name="csrf"' in page.text else {}
    return client.post(path, data=fields, headers=SAME)


def token_of(page, form=""):
    """What the first form, or one of them, brings along."""
    return re.search(r'name="csrf" value="(\w+)"', page.text.partition(f'id="{form}"')[2] if form else page.text)[1]


def enter(client, name="wang", password=PASSWORD, **more):
    return client.post("/sign-in", data={"name": name, "password": password, **more}, headers=SAME)


def own(client):
    """Headers of a page of this client's session."""
    return {**SAME, "x-csrf-token": sessions.csrf(client.cookies["cityeye"])}


def lines(desk):
    return [(row.actor, row.action, row.object) for row in reversed(desk.read(audit.show))]


def test_who_is_not_signed_in_is_led_there_and_back(client):
    page = client.get("/tickets/7", headers=HTML)
    assert (page.status_code, page.headers["location"]) == (303, "/sign-in?go_on=/tickets/7")
    page = client.get(page.headers["location"])
    assert page.status_code == 200
    assert 'value="/tickets/7"' in page.text
    done = enter(client, go_on="/tickets/7")
    assert (done.status_code, done.headers["location"]) == (303, "/tickets/7")
    assert client.get("/").status_code == 200
    assert client.get("/api/tickets").json() == []


def test_whose_session_has_ended_is_told_so(desk, client):
    enter(client)
    desk.write(sessions.end, client.cookies["cityeye"])
    page = client.get("/tickets/7", headers=HTML)
    assert page.headers["location"] == "/sign-in?go_on=/tickets/7&over=1"
    assert "登录已过期" in client.get(page.headers["location"]).text
    assert "登录已过期" not in client.get("/sign-in").text


@pytest.mark.parametrize(
    ("fields", "site", "kept"),
    [
        ({"reason": '"<b>写\n两行'}, "same-origin", True),
        ({"reason": "x", "password": PASSWORD}, "same-origin", False),  # no page holds a password
        ({"reason": "x"}, "cross-site", False),  # nobody else's form stands in a page of this center
        ({}, "same-origin", False),
    ],
)
@pytest.mark.parametrize("ended", [True, False])
def test_a_form_that_came_too_late_is_kept(desk, client, fields, site, kept, ended):
    enter(client)
    old = token_of(client.get("/account"))
    desk.write(sessions.end, client.cookies["cityeye"])
    if not ended:
        enter(client)
    headers = HTML | {"sec-fetch-site": site}
    page = client.post("/shops/record", data={"csrf": old, **fields}, headers=headers)
    assert page.status_code == ((401 if kept else 303) if ended else 403)
    assert ('id="kept"' in page.text) is kept
    if kept:
        assert 'value="&#34;&lt;b&gt;写\n两行"' in page.text
        assert ("/sign-in?go_on=/account" in page.text) is ended
    assert PASSWORD not in page.text
    if kept and not ended:
        again = client.post("/shops/record", data={"csrf": token_of(page, "kept"), **fields}, headers=headers)
        assert again.status_code == 422, "it came to its desk, which misses a name"


def test_a_late_form_is_never_sent_by_another_person(desk, client):
    make_person(desk.store, "li", "admin", password=PASSWORD)
    enter(client)
    fields = {"csrf": token_of(client.get("/account")), "reason": "x"}
    enter(client, "li")
    for _ in range(2):  # what is kept is kept again, as its writer's
        page = client.post("/shops/record", data=fields, headers=HTML | SAME)
        assert (page.status_code, 'data-who="wang"' in page.text) == (403, True)
        assert "只有填写人 wang 可以提交" in page.text
        fields["csrf"] = token_of(page, "kept")
    enter(client)
    page = client.post("/shops/record", data=fields, headers=HTML | SAME)
    fields["csrf"] = token_of(page, "kept")
    assert client.post("/shops/record", data=fields, headers=HTML | SAME).status_code == 422, "its desk misses a name"
    # a form that does not say whose it is is nobody's
    page = client.post("/shops/record", data={**fields, "csrf": "old"}, headers=HTML | SAME)
    assert (page.status_code, 'id="kept"' in page.text) == (403, False)


def test_wrong_ones_are_told_and_slowed_down(client):
    for name, password in (("nobody", PASSWORD), *[("wang", word) for word in ("wrong", "x", "y", "z", "")]):
        page = enter(client, name, password)
        assert page.status_code == 401
        assert "登录名或密码不对" in page.text
        assert f'value="{name}"' in page.text, "nobody types their name twice"
    page = enter(client)
    assert (page.status_code, page.headers["retry-after"]) == (429, "31")
    assert "请 30 秒后再试" in page.text


@pytest.mark.parametrize(
    "go_on",
    ["//evil.example", "https://evil.example", "/\\evil.example", "\\/evil", "evil", "", "/sign-out", "/a\r\nx: y"],
)
def test_nobody_is_led_elsewhere_after_signing_in(client, go_on):
    assert enter(client, go_on=go_on).headers["location"] == "/"
    assert 'name="go_on" value="/"' in client.get(f"/sign-in?go_on={quote(go_on)}").text


@pytest.mark.parametrize(
    ("grants", "home"),
    [
        (["officer@s"], "/tasks"),
        (["grid_worker@s", "viewer"], "/tasks"),
        (["officer@s", "operator@other"], "/"),
        (["viewer"], "/"),
    ],
)
def test_who_works_in_the_street_begins_at_their_tasks(desk, grants, home):
    make_person(desk.store, "he", *grants, password=PASSWORD)
    assert enter(browser(make_pages(desk)), "he").headers["location"] == home


def test_the_cookie_is_the_servers_alone_and_new_each_time(client):
    cookies = []
    for _ in range(2):
        done = enter(client)
        (cookie,) = [one for one in done.headers.get_list("set-cookie") if one.startswith("cityeye=")]
        assert {"HttpOnly", "SameSite=lax", "Path=/"} < {*cookie.split("; ")}
        assert "Secure" not in cookie
        cookies.append(cookie.split(";")[0].partition("=")[2])
    assert cookies[0] != cookies[1]
    client.cookies.clear()
    client.cookies.set("cityeye", cookies[0], domain="127.0.0.1")
    assert client.get("/account").status_code == 401, "the session before has ended"


def test_behind_tls_cookies_are_secure_and_of_this_host(desk):
    make_person(desk.store, "wang", "admin", password=PASSWORD)
    gate = make_gate(desk.store, url="https://center.example", second_factor="optional")
    client = browser(make_pages(desk, gate))
    client.base_url = "https://center.example"
    who = {"name": "wang", "password": PASSWORD}
    done = client.post("/sign-in", data=who, headers={"origin": "https://center.example"})
    found = done.headers.get_list("set-cookie")
    assert [one.split("=")[0] for one in found] == ["__Host-cityeye", "__Host-cityeye-device"]
    assert all("Secure" in one and "HttpOnly" in one and "Domain" not in one for one in found)
    assert done.headers["strict-transport-security"] == "max-age=31536000"
    assert client.get("/account").status_code == 200
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400


@pytest.mark.parametrize(
    ("headers", "good"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"origin": "http://127.0.0.1"}, True),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "http://127.0.0.1"}, False),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "https://127.0.0.1"}, False),
        ({"origin": "http://127.0.0.1:81"}, False),
        ({"origin": "null"}, False),
        ({}, False),
    ],
)
def test_only_pages_of_this_center_change_anything(client, headers, good):
    done = client.post("/sign-in", data={"name": "wang", "password": PASSWORD}, headers=headers)
    assert (done.status_code == 303) is good
    enter(client)
    csrf = own(client)["x-csrf-token"]
    done = client.post("/account/sessions/end", headers={**headers, "x-csrf-token": csrf})
    assert (done.status_code == 303) is good


@pytest.mark.parametrize("csrf", ["", "0" * 64, "é", "another session's"])
def test_a_change_needs_the_token_of_its_own_session(desk, client, csrf):
    enter(client)
    if csrf == "another session's":
        make_person(desk.store, "li", "viewer")
        other = browser(client.app)
        csrf = sessions.csrf(sign_in(desk.store, "li", other))
    for options in ({"headers": {**SAME, "x-csrf-token": csrf.encode()}}, {"headers": SAME, "data": {"csrf": csrf}}):
        assert client.post("/account/sessions/end", **options).status_code == 403
    assert client.post("/account/sessions/end", headers=SAME, files={"csrf": ("x", csrf)}).status_code == 403
    assert give(client, "/account/sessions/end").status_code == 303


def test_a_token_needs_no_page_but_opens_no_account(desk, client):
    headers = bearer(desk.store, "wang")
    assert client.post("/api/people/wang/unlock", headers=headers).status_code == 200
    for way in ("GET /account", "POST /api/tokens", "POST /account/tokens", "POST /sign-out"):
        answer = client.request(*way.split(), headers=headers)
        assert (answer.status_code, "no token" in answer.text) == (403, True), way


def test_a_bad_token_is_not_made_good_by_a_session(client):
    enter(client)
    for value in ("Bearer x", "Bearer", "Basic d2FuZzp4", "bearer cet_000000000000_" + "a" * 43):
        answer = client.get("/api/tickets", headers={"authorization": value})
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_signing_out_ends_it_here_and_in_the_browser(desk, client):
    enter(client)
    cookie = client.cookies["cityeye"]
    done = give(client, "/sign-out")
    assert done.headers["location"] == "/sign-in"
    assert done.headers["clear-site-data"] == '"cache"'
    client.cookies.set("cityeye", cookie, domain="127.0.0.1")
    assert client.get("/", headers=HTML).status_code == 303
    assert ("person:wang", "sign_out", "person/wang") in lines(desk)


def test_a_page_that_asks_by_itself_hears_401(client):
    assert client.get("/tickets", headers={**HTML, rights.BACKGROUND: "1"}).status_code == 401


def test_the_second_factor_from_first_to_last(desk, client):
    def code():
        with desk.store.transaction() as session:
            row = session.get(PersonRow, "wang")
            secret = base64.b32decode(client.app.state.gate.signing.vault.open("wang", row.totp or row.totp_asked))
            return totp.code(secret, max(totp.step_at(now_ms()), (row.totp_step or 0) + 1))

    enter(client)
    assert give(client, "/account/totp", password="wrong").status_code == 400
    page = give(client, "/account/totp", password=PASSWORD)
    assert page.status_code == 200
    assert "<svg" in page.text
    assert "style=" not in page.text, "the page's own policy would forbid it"
    assert give(client, "/account/totp/confirm", code="000000").status_code == 400
    page = give(client, "/account/totp/confirm", code=code())
    codes = re.findall(r"<li>([a-z2-7]{4}-[a-z2-7]{4})</li>", page.text)
    assert len(codes) == 10
    give(client, "/sign-out")
    done = enter(client, go_on="/account")
    assert done.headers["location"] == "/sign-in/code?go_on=/account"
    assert client.get("/account").status_code == 401
    half = client.cookies["cityeye"]
    assert client.post("/sign-in/code", data={"code": "1"}, headers=SAME).status_code == 401
    done = client.post("/sign-in/code", data={"code": code(), "go_on": "/account"}, headers=SAME)
    assert (done.status_code, done.headers["location"]) == (303, "/account")
    assert client.cookies["cityeye"] != half
    assert client.get("/account").status_code == 200
    anew = give(client, "/account/recovery", password=PASSWORD).text
    assert len(re.findall(r"<li>[a-z2-7]{4}-[a-z2-7]{4}</li>", anew)) == 10
    assert give(client, "/account/totp/drop", password=PASSWORD).status_code == 303
    assert [action for _, action, _ in lines(desk)][-2:] == ["person.recovery", "person.totp_drop"]


def test_an_unusable_key_of_second_factors_is_said(desk, client, tmp_path, caplog):
    key = tmp_path / "spoilt.key"
    key.write_text("x")
    object.__setattr__(client.app.state.gate.signing, "vault", Vault(key))
    enter(client)
    for path, field in (("/account/totp", {"password": PASSWORD}), ("/account/totp/confirm", {"code": "000000"})):
        answer = give(client, path, **field)
        assert (answer.status_code, "无法保存两步验证" in answer.text) == (503, True), answer.text
        assert "spoilt.key" not in answer.text
    assert "spoilt.key: expected keys" in caplog.text


def test_who_has_to_finish_their_account_does_nothing_else(desk):
    make_person(desk.store, "wang", "admin", password=PASSWORD, once=True)
    client = browser(make_pages(desk, make_gate(desk.store, second_factor="admins")))
    enter(client)
    for path in ("/", "/api/people", "/metrics-not", "/api/tickets"):
        page = client.get(path, headers=HTML)
        assert (page.status_code, page.headers.get("location")) in ((303, "/account"), (404, None)), path
    assert client.get("/api/tickets").status_code == 403
    assert "Change your password first" in client.get("/account?lang=en").text
    assert give(client, "/account/password", password=PASSWORD, new="short").status_code == 400
    assert give(client, "/account/password", password=PASSWORD, new="another horse battery").status_code == 303
    assert "Your role needs a second factor" in client.get("/account").text
    assert client.post("/api/tokens", json={"name": "x"}, headers=own(client)).status_code == 403
    assert client.get("/", headers=HTML).status_code == 303


def test_tokens_of_ones_own(desk, client):
    enter(client)
    page = give(client, "/account/tokens", token="大屏", days="30", password=PASSWORD, **{"grant:officer@s": "1"})
    (text,) = re.findall(r"cet_\w{12}_[\w-]{43}", page.text)
    headers = {"authorization": f"Bearer {text}"}
    other = browser(client.app)
    assert other.get("/api/tickets", headers=headers).json() == []
    assert other.get("/api/people", headers=headers).status_code == 403
    for wrong in ({"token": ""}, {"days": "500"}, {"days": "x"}, {"password": "wrong"}, {"grant:viewer": "1"}):
        role = {} if "grant:viewer" in wrong else {"grant:officer@s": "1"}
        page = give(client, "/account/tokens", **{"token": "x", "days": "30", "password": PASSWORD} | role | wrong)
        assert (page.status_code, "cet_" in page.text) == (400, False), wrong
    token_id = text.split("_")[1]
    make_person(desk.store, "li", "admin", password=PASSWORD)
    enter(other, "li")
    assert give(other, f"/account/tokens/{token_id}/revoke").status_code == 404
    assert give(client, f"/account/tokens/{token_id}/revoke").status_code == 303
    other.cookies.clear()
    assert other.get("/api/tickets", headers=headers).status_code == 401


def test_without_people_pages_are_open_and_say_so(desk):
    client = browser(make_pages(desk))
    page = client.get("/?lang=en")
    assert page.status_code == 200
    assert "No people yet" in page.text
    assert client.get("/api/tickets").json() == []
    # but not to other sites' pages, and the first admin is made at the command line
    for headers in ({}, SAME, {"sec-fetch-site": "cross-site"}, {"origin": "http://evil.example"}):
        made = client.post("/api/people", json={"id": "x", "name": "x", "grants": [{"role": "admin"}]}, headers=headers)
        assert made.status_code == 403
    assert "Run cityeye-collector init" in client.get("/sign-in").text
    make_person(desk.store, "wang", "admin", password=PASSWORD)
    assert client.get("/api/tickets").status_code == 401
    assert "No people yet" not in client.get("/sign-in").text


def test_pages_that_others_reach_are_never_open(desk):
    client = browser(make_pages(desk, make_gate(desk.store, url="https://center.example")))
    assert client.get("/api/tickets").status_code == 401


@pytest.mark.parametrize(
    ("address", "options", "good"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("192.0.2.1", {}, False),
        ("127.0.0.1", {"url": "https://center.example"}, True),
        # a proxy on this machine: whoever asks seems to be here
        ("127.0.0.1", {"url": "https://center.example", "proxied": True}, False),
    ],
)
@pytest.mark.parametrize("path", ["/healthz", "/metrics"])
def test_figures_are_for_this_machine_or_a_token(desk, path, address, options, good):
    make_person(desk.store, "prometheus", "viewer")
    client = browser(make_pages(desk, make_gate(desk.store, **options)), address=address)
    assert (client.get(path).status_code == 200) is good
    assert client.get(path, headers=bearer(desk.store, "prometheus")).status_code == 200


def test_an_original_is_fetched_with_a_reason_that_is_on_record_before_it_is_sent(desk, client):
    case = Case()
    desk.take(incidents.status(), case.picture("at", "close"), case.opened())
    record, content = case.pictures[0]
    enter(client)
    page = client.get("/tickets/1")
    assert f"/evidence/{record.sha256}/original" in page.text
    before = len(lines(desk))
    shown = client.get(f"/evidence/{record.sha256}.jpg").content
    assert (shown != content, size_of(shown)) == (True, (160, 90)), "a preview gives no original away"
    assert len(lines(desk)) == before, "a preview is not on record"
    path = f"/evidence/{record.sha256}/original"
    for reason in ("", "  a  ", "\u3000核 ", "x" * 301):
        assert give(client, path, reason=reason).status_code == 400
    assert len(lines(desk)) == before
    answer = give(client, path, reason="  居民  申诉，核对原图 ")
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["content-disposition"] == f'attachment; filename="{record.sha256}.jpg"'
    assert answer.headers["cache-control"] == "no-store"
    (row,) = desk.read(audit.show, of=f"picture/{record.sha256}")
    told = {"reason": "居民 申诉，核对原图", "box": "box-1", "name": "Wang", "unit": "小河街道"}
    assert (row.actor, audit.line_json(row)["detail"]) == ("person:wang", told)
    assert give(client, path, reason="复核").status_code == 200, "two letters are a whole reason"
    for name in ("0" * 64, "x", "../center"):
        assert give(client, f"/evidence/{name}/original", reason="to see it").status_code == 404


def test_a_large_picture_is_shown_smaller(desk, client):
    for quality, shape, expected in (
        (95, (1080, 1920), (540, 960)),
        (95, (1920, 1080), (960, 540)),
        (95, (90, WIDEST_PX), (90, WIDEST_PX)),
        (QUALITY, (90, 160), (90, 160)),
    ):
        content = encode(np.full((*shape, 3), 90, np.uint8), quality)
        sha256 = hashlib.sha256(content).hexdigest()
        desk.files.put(sha256, content)
        small = preview(desk.files, sha256)
        assert small != content
        assert cv2.imdecode(np.frombuffer(small, np.uint8), cv2.IMREAD_COLOR).shape[:2] == expected


@pytest.mark.parametrize("by", ["cookie", "token"])
def test_a_live_feed_ends_with_its_session_or_token(desk, by):
    """Looked at again while it runs, so that who is put out sees no more."""
    make_person(desk.store, "wang", "operator")
    pages = make_pages(desk, make_gate(desk.store))
    if by == "cookie":
        headers = {"cookie": f"cityeye={sign_in(desk.store, 'wang', browser(pages))}"}
    else:
        headers = bearer(desk.store, "wang")
    scope = {"type": "http", "method": "GET", "path": "/events", "query_string": b"", "app": pages}
    scope["headers"] = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    request = Request(scope)
    asking = identify_again(request)

    async def feed():
        for number in range(5):
            if number == 2:
                desk.write(sessions.end_all, "wang")
                desk.execute(update(TokenRow).values(revoked_ms=1))
            yield str(number)

    async def follow():
        told = application._while_signed_in(feed(), asking, partial(identify_again, request))
        return [piece async for piece in told]

    seconds, application.LOOK_AGAIN_S = application.LOOK_AGAIN_S, -1.0
    try:
        assert beside(follow()) == ["0", "1"]
    finally:
        application.LOOK_AGAIN_S = seconds


def test_people_by_the_api(desk, client):
    headers = bearer(desk.store, "wang")

    def ask(method, path, **body):
        answer = client.request(method, path, headers=headers, json=body or None)
        return answer.status_code, answer.json()

    reached = {"phone": "138 0000-1111", "mail": "li@example.org"}
    grants = [{"role": "operator", "street": "s"}]
    status, made = ask("POST", "/api/people", id="li", name="李", grants=grants, **reached)
    assert (made["phone"], made["mail"]) == ("13800001111", "li@example.org")
    assert ask("PATCH", "/api/people/li", phone="")[1]["phone"] == ""
    assert ask("PATCH", "/api/people/li", phone="0571-88001234", name="李梅")[1]["name"] == "李梅"
    make_person(desk.store, "zhang", "auditor@s")
    for way in ("/api/people/li", "/api/people"):
        seen = client.get(way, headers=bearer(desk.store, "zhang")).text
        assert ("88001234" in seen, "li@" in seen, "1234" in seen) == (False, False, True), "masked for who only reads"
    log_text = json.dumps(ask("GET", "/api/audit")[1])
    assert ("88001234" in log_text, "13800001111" in log_text) == (False, False), "the log is for ever"
    assert (status, made["grants"]) == (201, [{"role": "operator", "street": "s", "by": "person:wang"}])
    assert enter(browser(client.app), "li", made["password_once"]).status_code == 303
    assert [one["id"] for one in ask("GET", "/api/people")[1]] == ["li", "wang", "zhang"]
    assert ask("POST", "/api/people/li/grants", role="officer")[1]["grants"][0]["role"] == "officer"
    assert ask("DELETE", "/api/people/li/grants/operator/s")[1]["grants"][0]["street"] == "*"
    assert ask("POST", "/api/people/li/disable")[1]["disabled_ms"]
    assert ask("POST", "/api/people/li/enable")[1]["disabled_ms"] is None
    assert len(ask("POST", "/api/people/li/password")[1]["password_once"]) == 19
    assert ask("POST", "/api/people/li/totp-reset")[0] == 200
    assert ask("POST", "/api/people/li/unlock")[0] == 200
    for status, method, path, body in (
        (404, "GET", "/zhao", {}),
        (404, "POST", "/zhao/disable", {}),
        (400, "POST", "", {"id": "li", "name": "x"}),
        (400, "POST", "", {"id": "Li Lei", "name": "x"}),
        (400, "POST", "/li/grants", {"role": "boss"}),
        (400, "PATCH", "/li", {"phone": "12345"}),
        (400, "PATCH", "/li", {"mail": "li at home"}),
        (404, "PATCH", "/zhao", {"name": "x"}),
        (400, "POST", "/li/grants", {"role": "viewer", "street": "../x"}),
        (400, "POST", "/wang/disable", {}),
        (422, "POST", "/li/promote", {}),
        (422, "POST", "", {"id": "x", "name": "x", "password_hash": "x"}),
    ):
        assert ask(method, f"/api/people{path}", **body)[0] == status, (method, path, body)
    assert ask("GET", "/api/people/li")[1]["second_factor"] is False
    status, log = ask("GET", "/api/audit?limit=3")
    assert [one["action"] for one in log["lines"]] == ["person.unlock", "person.password_reset", "person.enable"]
    assert log["lines"][0]["detail"]["via"].startswith("token/")
    verdict = {"good": True, "lines": int(log["head"].split(":")[0]), "head": log["head"], "fault": None}
    assert ask("GET", f"/api/audit/verify?noted={log['head']}")[1] == verdict
    assert ask("GET", "/api/audit/verify?noted=x")[0] == 400
    assert not re.search("argon2|sha256|totp_asked", client.get("/api/people", headers=headers).text)


def test_an_admin_of_a_street_by_the_api(desk, client):
    make_person(desk.store, "local", "admin@s", "auditor@s")
    make_person(desk.store, "far", "operator@t")
    headers = bearer(desk.store, "local")
    assert [one["id"] for one in client.get("/api/people", headers=headers).json()] == ["local", "wang"]
    assert client.get("/api/people/far", headers=headers).status_code == 404
    assert client.get("/api/people/wang", headers=headers).status_code == 200
    for method, path, body in (
        ("PATCH", "", {"name": "x"}),
        ("POST", "/disable", None),
        ("POST", "/grants", {"role": "viewer", "street": "s"}),
        ("DELETE", "/grants/operator/t", None),
    ):
        there, none = (
            client.request(method, f"/api/people/{one}{path}", headers=headers, json=body) for one in ("far", "no")
        )
        assert there.status_code == none.status_code == 404
        assert there.text.replace("far", "no") == none.text
    for path, body in (("/api/people/wang/password", None), ("/api/people/local/grants", {"role": "admin"})):
        assert client.post(path, headers=headers, json=body).status_code == 403
    # the audit log tells of all streets
    assert client.get("/api/audit", headers=headers).status_code == 403


def test_an_admin_of_a_street_sees_no_tokens_of_another(desk, client):
    make_person(desk.store, "local", "admin@s", password=PASSWORD)
    make_person(desk.store, "near", "operator@s")
    make_person(desk.store, "far", "operator@t")
    near, far = (bearer(desk.store, one)["authorization"].split("_")[1] for one in ("near", "far"))
    enter(client, "local")
    headers = own(client)
    assert [one["id"] for one in client.get("/api/tokens?everybody=true").json()] == [near]
    assert [client.delete(f"/api/tokens/{one}", headers=headers).status_code for one in (near, far)] == [200, 404]


def test_sessions_and_tokens_by_the_api(desk, client):
    make_person(desk.store, "li", "operator@s", password=PASSWORD)
    enter(client)
    csrf = own(client)
    me = client.get("/api/me").json()
    assert (me["id"], me["must"], "people.write" in me["rights"]) == ("wang", "", True)
    wanted = {"name": "counter", "grants": [{"role": "officer", "street": "s"}]}
    made = client.post("/api/tokens", json=wanted, headers=csrf)
    assert made.status_code == 201
    listed = client.get("/api/tokens").json()
    assert [one["name"] for one in listed] == ["counter"]
    assert "secret" not in str(listed)
    for wrong, status in (({"days": 9000}, 422), ({"grants": [{"role": "auditor"}]}, 400)):
        assert client.post("/api/tokens", json={"name": "x", **wrong}, headers=csrf).status_code == status
    other = browser(client.app)
    enter(other, "li")
    assert other.get("/api/tokens?everybody=true").status_code == 403
    for token, status in ((made.json()["id"], 403), ("x", 404)):
        assert other.delete(f"/api/tokens/{token}", headers=own(other)).status_code == status
    assert client.delete(f"/api/tokens/{made.json()['id']}", headers=csrf).json()["revoked_ms"]


@pytest.mark.parametrize(
    ("content", "kind", "expected"),
    [
        (b"name=x", "json", 415),
        (b"name=" + b"x" * 20_000, "x-www-form-urlencoded", 413),
        (b"name=\xff", "x-www-form-urlencoded", 400),
        (b"&".join(b"a%d=1" % n for n in range(300)), "x-www-form-urlencoded", 400),
    ],
)
def test_a_form_that_cannot_be_read_is_said(client, content, kind, expected):
    answer = client.post("/sign-in", content=content, headers={**SAME, "content-type": f"application/{kind}"})
    assert answer.status_code == expected


@pytest.mark.parametrize("address", ["abc", "unknown", "fe80::1%eth0", "::ffff:192.0.2.1", ""])
def test_whatever_a_proxy_calls_the_caller_tries_count(desk, client, address):
    other = browser(client.app, address=address)
    for _ in range(5):
        assert enter(other, password="wrong").status_code == 401
    assert enter(other).status_code == 429


def test_what_people_call_themselves_is_text_on_pages(desk, client):
    desk.write(roster.add, SYSTEM, "x", "<script>alert(1)</script>", [Grant.read("viewer")], now_ms=1)
    sign_in(desk.store, "x", client)
    page = client.get("/account").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
