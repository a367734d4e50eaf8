"""Cameras on the local network, and what is said there that makes no sense."""

import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.box.network import Address
from agent.camera.onvif import service_at, streams
from agent.setup import mdns
from agent.setup.finding import PATHS, Found, Streams, discover, find, find_streams, read_reply
from tests.cameras import RtspCamera, onvif
from tests.services import free_port

D = "http://schemas.xmlsoap.org/ws/2005/04/discovery"
REPLY = (
    f'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:d="{D}"><s:Body><d:ProbeMatches>'
    "<d:ProbeMatch><d:Scopes>onvif://www.onvif.org/name/Front%20door onvif://www.onvif.org/hardware/IPC-1</d:Scopes>"
    "<d:XAddrs>http://[fe80::1]/onvif/device_service http://127.0.0.1:80/onvif/device_service</d:XAddrs>"
    "</d:ProbeMatch></d:ProbeMatches></s:Body></s:Envelope>"
).encode()
LOOPBACK = Address("lo", "127.0.0.2", 30)


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (
            REPLY,
            [
                Found(
                    "127.0.0.1", name="Front door IPC-1", onvif=True, service="http://127.0.0.1:80/onvif/device_service"
                )
            ],
        ),
        (b"<!DOCTYPE a [<!ENTITY b 'c'>]>" + REPLY, []),
        (REPLY + b" " * 20_000, []),
        (REPLY.replace(b"127.0.0.1:80", b"a.b.c.d"), []),
        (REPLY.replace(b"127.0.0.1:80", b"[127.0.0.1"), []),
        (REPLY.replace(b"XAddrs", b"Other"), []),
    ],
)
def test_a_reply_says_where_a_camera_is(reply, found):
    assert read_reply(reply) == found


@given(st.binary(max_size=400), st.integers(0, len(REPLY)), st.integers(0, 40))
def test_garbage_is_no_camera_and_breaks_nothing(junk, at, cut):
    for packet in (junk, REPLY[:at] + junk + REPLY[at + cut :]):
        assert all(socket.inet_aton(one.host) for one in read_reply(packet))
        mdns.asks(packet, "cityeye-abc")


def test_cameras_answer_to_a_probe():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as camera:
        camera.bind(("127.0.0.1", 0))

        def reply():
            packet, asked_from = camera.recvfrom(65535)
            assert b"NetworkVideoTransmitter" in packet
            for one in (b"\xff" * 900, b"", REPLY):
                camera.sendto(one, asked_from)

        thread = threading.Thread(target=reply)
        thread.start()
        assert [one.host for one in discover([LOOPBACK], camera.getsockname(), 0.3)] == ["127.0.0.1"]
        thread.join()


def test_a_camera_is_found_by_its_port_and_its_stream_by_its_path(tmp_path):
    with RtspCamera(tmp_path, "admin", "right-1", seconds=2) as camera:
        assert Found("127.0.0.1", (camera.port,)) in find((camera.port,), lambda: [LOOPBACK], 0.1)
        source = f"rtsp://127.0.0.1:{camera.port}/stream1"
        assert find_streams("127.0.0.1", camera.port, "admin", "right-1") == Streams("found", source)
        for user, password in (("admin", "wrong-1"), ("", "")):
            assert find_streams("127.0.0.1", camera.port, user, password) == Streams("login", source)
    port = free_port()
    silent = f"rtsp://127.0.0.1:{port}{PATHS[0][0]}"
    assert find_streams("127.0.0.1", port, "admin", "right-1") == Streams("silent", silent)


LOGIN = ("admin", "right & 1")
URIS = {"top": "rtsp://u:p@10.255.0.1:554/h?a=1&amp;b=2", "sub": "rtsp://10.255.0.1/low"}
TOLD = ["rtsp://127.0.0.1:554/h?a=1&b=2", "rtsp://127.0.0.1/low"]


@pytest.mark.parametrize(
    ("camera", "login", "told"),
    [
        ({"uris": URIS}, ("", ""), TOLD),
        ({"uris": URIS, "login": LOGIN}, LOGIN, TOLD),
        ({"uris": URIS, "login": LOGIN, "off_s": -86_400.0}, LOGIN, TOLD),  # by its clock, a day behind
        ({"uris": URIS, "login": LOGIN}, ("admin", "wrong"), []),
        ({"uris": URIS, "login": LOGIN}, ("", ""), []),
        ({"uris": {"top": URIS["top"]}}, ("", ""), TOLD[:1]),
        ({"uris": {"sub": URIS["sub"]}}, ("", ""), []),
        ({"uris": {"top": "http://127.0.0.1/snapshot"}}, ("", ""), []),
        ({"uris": URIS, "before": "<!DOCTYPE a [<!ENTITY b 'c'>]>"}, ("", ""), []),
        ({"uris": URIS, "before": "junk"}, ("", ""), []),
    ],
)
def test_a_camera_tells_its_own_addresses(monkeypatch, camera, login, told):
    with onvif(monkeypatch, **camera) as port:
        assert streams(service_at("127.0.0.1", port), *login) == told


def test_a_stream_is_where_the_camera_says_else_at_a_usual_path(tmp_path, monkeypatch):
    with RtspCamera(tmp_path, *LOGIN, seconds=2) as camera:
        told, usual = camera.url, camera.url.replace("/street", "/stream1")
        for uris, source, sub in [
            ({"top": told, "sub": usual}, told, usual),
            ({"top": told, "sub": f"{told}-gone"}, told, None),
            ({"top": f"{told}-gone"}, usual, None),  # it tells one that it has not
            ({}, usual, None),
        ]:
            with onvif(monkeypatch, uris, LOGIN) as port:
                for service in ("", service_at("127.0.0.1", port)):
                    assert find_streams("127.0.0.1", camera.port, *LOGIN, service) == Streams("found", source, sub)
    with onvif(monkeypatch, {"top": told}, LOGIN):
        assert find_streams("127.0.0.1", camera.port, *LOGIN) == Streams("silent", told), "RTSP is off"


def test_the_box_answers_for_its_name(monkeypatch):
    told = mdns.answer("cityeye-abc", ["10.0.0.7"])
    assert told.endswith(b"\x0bcityeye-abc\5local\0\0\1\x80\1\0\0\0\x78\0\4\x0a\0\0\7")
    assert not mdns.asks(told, "cityeye-abc"), "answers are not answered"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind(("127.0.0.1", 0))
        line.settimeout(5)
        port = free_port()
        responder = mdns.Responder("cityeye-abc", port)
        monkeypatch.setattr(responder, "_say", lambda: line.sendto(told, line.getsockname()))
        responder.start()
        assert line.recv(9000) == told, "it says by itself where it is"
        query = bytes(5) + b"\1" + bytes(6) + b"%c%s\5local\0\0\1\0\1"
        for name in (b"cityeye-xyz", b"cityeye-abcd", b"CityEye-ABC"):
            line.sendto(query % (len(name), name), ("127.0.0.1", port))
        assert line.recv(9000) == told
        line.settimeout(0.2)
        with pytest.raises(TimeoutError):
            line.recv(9000)
        responder.close()
