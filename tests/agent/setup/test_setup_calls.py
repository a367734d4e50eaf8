"""Who gets in, what a foreign page cannot do, and garbage."""

import contextlib
import json
import socket
import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.setup import server as serving
from agent.setup.pages import CALLS, MAX_BODY_BYTES
from tests.phone import page


@pytest.fixture(scope="module")
def phone(tmp_path_factory):
    path = tmp_path_factory.mktemp("box") / "box.toml"
    path.write_text("version = 1\n[box]\n")
    with page(path, finder=list) as phone:
        phone.post("/api/enter", pin=phone.pin)
        yield phone


def test_without_the_pin_there_is_nothing_but_the_page(phone):
    assert phone.ask("GET", "/", Cookie="")[0] == 200
    for path in ("/api/state", "/api/look", "/picture/1", "/nothing"):
        assert phone.ask("GET", path, Cookie="")[0] == 401
    for name in [*CALLS, "nothing"]:
        assert phone.ask("POST", f"/api/{name}", {}, Cookie="__Host-setup=x")[0] == 401
    assert phone.desk.job is None
    assert phone.pin.encode() not in phone.ask("GET", "/api/state")[2]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content-Type": "text/plain"}, 403),
        ({"Host": "elsewhere.example"}, 421),
        ({"Host": "[::1"}, 421),
        ({"Host": "localhost"}, 200),
    ],
)
def test_a_foreign_page_cannot_ask_for_anything(phone, headers, status):
    assert phone.ask("POST", "/api/focus", {}, **headers)[0] == status


def test_what_is_sent_says_that_no_other_page_may_use_it(phone):
    _, headers, _ = phone.ask("POST", "/api/enter", {"pin": phone.pin})
    assert "default-src 'none'; script-src 'self'" in headers["Content-Security-Policy"]
    for part in ("__Host-setup=", "Secure", "HttpOnly", "SameSite=Strict", "Path=/"):
        assert part in headers["Set-Cookie"]


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("enter", {"pin": "0"}, 403),
        ("streams", {"host": "a.b", "port": 1}, 422),
        ("test", {"id": "cam-1", "source": "file:///etc/passwd"}, 422),
        ("test", {"id": "cam-1", "source": "rtsp://u:secret-1@h/1"}, 422),
        ("camera", {"id": "../x", "source": "rtsp://h/1"}, 422),
        ("watch", {"camera": "cam-1"}, 409),
        ("draw", {"camera": "cam-1", "drawing": {}}, 409),
        ("focus", {"more": 1}, 422),
        ("focus", [], 422),
        ("nothing", {}, 404),
    ],
)
def test_what_makes_no_sense_is_refused_and_quotes_no_secret(phone, name, body, status):
    found, _, text = phone.ask("POST", f"/api/{name}", body)
    assert found == status
    assert json.loads(text)["text"]
    assert b"secret-1" not in text


VALUES = st.recursive(
    st.none() | st.text(max_size=9) | st.integers() | st.floats(),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.sampled_from(["camera", "drawing", "x"]), one),
)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(st.text(max_size=80), st.sampled_from([f"/api/{name}" for name in CALLS if name != "find"])),
    st.one_of(st.none(), st.binary(max_size=200), VALUES.map(lambda value: json.dumps(value).encode())),
    st.dictionaries(st.sampled_from(["cookie", "host", "origin", "x"]), st.text(min_size=1, max_size=40)),
)
def test_garbage_is_answered_and_changes_nothing(phone, target, body, headers):
    sent = {"host": "127.0.0.1", "cookie": phone.cookie, "content-type": "application/json"} | headers
    assert phone.server.pages.answer(target, sent, body).status in (200, 400, 401, 403, 404, 409, 421, 422)
    assert phone.door.waiting() is None


POST = b"POST /api/enter HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00" * 300 + b"\r\n",
        b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET " + b"/" * 70_000 + b" HTTP/1.1\r\n\r\n",
        POST + b"\r\n",
        POST + b"Content-Length: -5\r\n\r\n",
        POST + b"Content-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1),
        b"GET / HTTP/1.1\r\n" + b"".join(b"A%d: b\r\n" % n for n in range(200)) + b"\r\n",
    ],
)
@pytest.mark.parametrize("tls", [True, False])
def test_garbage_on_the_line_ends_that_line_only(phone, sent, tls):
    with socket.create_connection(("127.0.0.1", phone.port), 5) as raw:
        context = ssl._create_unverified_context()  # noqa: S323 - as a telephone does
        with context.wrap_socket(raw) if tls else raw as line:
            line.sendall(sent)
            with contextlib.suppress(ConnectionError):
                assert not line.recv(4096).startswith(b"HTTP/1.0 200")
    assert phone.ask("GET", "/")[0] == 200


def test_those_who_only_hold_the_line_keep_nobody_out(phone, monkeypatch):
    held = [socket.create_connection(("127.0.0.1", phone.port), 5) for _ in range(2 * serving.MOST)]
    assert phone.ask("GET", "/")[0] == 200
    monkeypatch.setattr(serving, "LONGEST_S", 0.0)
    for line in held:
        with line:
            assert line.recv(1) == b"", "it is ended"
