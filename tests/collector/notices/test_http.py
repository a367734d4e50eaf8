"""One request, and what became of it."""

import socket
import ssl
import time

import pytest

from collector.notices.http import MAX_ANSWER, Answer, Line, by_status, call
from tests.collector.notices.servers import Say, Service
from tests.services import free_port

GOOD = {"code": 0, "text": "x" * 100}


@pytest.mark.parametrize(
    ("say", "outcome", "code"),
    [
        (Say(GOOD), None, 200),
        (Say(GOOD, how="half"), "unsure", "cut"),  # the answer broke off: whatever it says is not to be trusted
        (Say(how="cut"), "unsure", "cut"),  # sent, and the line was closed
        (Say(how="hang", wait_s=1.5), "unsure", "timeout"),
        (Say(GOOD, how="drip", wait_s=0.05), "unsure", "timeout"),  # each byte in time, all of them not
        (Say(b"x" * (MAX_ANSWER + 10)), "unsure", "too_large"),
    ],
)
def test_what_was_sent_and_not_answered_is_unsure(service, say, outcome, code):
    service.say(say)
    started_s = time.monotonic()
    found = call(Line(0.5), "POST", f"{service.url}/a?b=c", {"x": "y"}, b"body")
    assert time.monotonic() - started_s < 1.4
    if outcome is None:
        assert isinstance(found, Answer)
        assert (found.status, service.got[0].path, service.got[0].body) == (code, "/a?b=c", b"body")
    else:
        assert (found.outcome, found.code) == (outcome, code)
    assert len(service.got) == 1


def test_what_never_left_is_unreachable(tmp_path):
    found = call(Line(0.5), "GET", f"http://127.0.0.1:{free_port()}/", {}, b"")
    assert (found.outcome, found.code) == ("unreachable", "no_connection")
    found = call(Line(0.5), "GET", "http://no-such-host.invalid/", {}, b"")
    assert found.outcome == "unreachable"
    found = call(Line(0.5, ca=tmp_path / "none"), "GET", "https://127.0.0.1/", {}, b"")
    assert (found.outcome, found.code) == ("unreachable", "tls")


def test_a_server_that_speaks_no_tls_is_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        found = call(Line(0.3), "GET", f"https://127.0.0.1:{listening.getsockname()[1]}/", {}, b"")
    assert (found.outcome, found.code) == ("unreachable", "timeout")


def test_an_unsigned_certificate_is_unreachable_and_nothing_sent(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Service(Say(GOOD), tls=context) as secure:
        found = call(Line(1), "POST", secure.url, {}, b"secret")
        assert (found.outcome, found.code) == ("unreachable", "tls")
        assert "certificate" in found.text.lower()
        assert secure.got == []
        found = call(Line(1, ca=certificate), "POST", secure.url, {}, b"x")
        assert found.status == 200


@pytest.mark.parametrize(
    ("status", "headers", "outcome", "after_s"),
    [
        (200, {}, None, 0),
        (204, {}, None, 0),
        # never followed: it would carry the secret along
        (301, {"location": "http://elsewhere.example/x"}, "refused", 0),
        (307, {}, "refused", 0),
        (400, {}, "refused", 0),
        (403, {}, "refused", 0),
        (404, {}, "refused", 0),
        (408, {}, "unsure", 0),
        (429, {"retry-after": "33"}, "later", 33),
        (429, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, "later", 0),
        (500, {}, "later", 0),
        (502, {}, "unsure", 0),  # a gateway lost the service: behind it the request may have been done
        (503, {"retry-after": "5"}, "later", 5),
        (504, {}, "unsure", 0),
    ],
)
def test_a_status_by_itself(status, headers, outcome, after_s):
    found = by_status(Answer(status, headers, b"said"))
    assert (found and found.outcome) == outcome
    if found:
        assert (found.code, found.after_s) == (f"http_{status}", after_s)


def test_a_proxy_is_asked_for_the_whole_address(service):
    service.say(Say(GOOD))
    host = service.url.removeprefix("http://")
    assert call(Line(1, proxy=host), "GET", "http://sms.example.org/a", {}, b"").status == 200
    assert service.got[0].path == "http://sms.example.org/a"
    found = call(Line(1, proxy=host), "GET", "https://sms.example.org/a", {}, b"")
    assert found.outcome == "unreachable"  # it does not know CONNECT
