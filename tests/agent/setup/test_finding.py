"""Cameras on the local network, and what is said there that makes no sense."""

import hashlib
import socket
import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.setup import mdns
from agent.setup.finding import Found, Streams, discover, find, find_streams, read_reply
from agent.setup.network import Address
from tests.cameras import RtspCamera
from tests.services import free_port, wait_for

REPLY = (
    b'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"'
    b' xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"><s:Body><d:ProbeMatches><d:ProbeMatch>'
    b"<d:Types>dn:NetworkVideoTransmitter</d:Types>"
    b"<d:Scopes>onvif://www.onvif.org/type/video onvif://www.onvif.org/name/Front%20door"
    b" onvif://www.onvif.org/hardware/IPC-1</d:Scopes>"
    b"<d:XAddrs>http://[fe80::1]/onvif/device_service http://127.0.0.1:80/onvif/device_service</d:XAddrs>"
    b"</d:ProbeMatch></d:ProbeMatches></s:Body></s:Envelope>"
)
LOOPBACK = Address("lo", "127.0.0.2", 29)


def test_a_reply_says_where_a_camera_is_and_what_it_calls_itself():
    assert read_reply(REPLY) == [Found("127.0.0.1", name="Front door IPC-1", onvif=True)]


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"<a/>",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]>" + REPLY,
        REPLY + b" " * 20_000,
        REPLY.replace(b"127.0.0.1:80", b"a.b.c.d"),
        REPLY.replace(b"127.0.0.1:80", b"[127.0.0.1"),
        REPLY.replace(b"http://127.0.0.1:80/onvif/device_service", b""),
    ],
)
def test_a_reply_without_an_address_is_none(reply):
    assert read_reply(reply) == []


@given(st.binary(max_size=400), st.integers(0, len(REPLY)), st.integers(0, 40))
def test_garbage_is_no_camera_and_breaks_nothing(junk, at, cut):
    for packet in (junk, REPLY[:at] + junk + REPLY[at + cut :]):
        for one in read_reply(packet):
            assert socket.inet_aton(one.host)
        mdns.questions(packet)


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
        found = discover([LOOPBACK], camera.getsockname(), 0.5)
        thread.join()
    assert [one.host for one in found] == ["127.0.0.1"]


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    with RtspCamera(tmp_path_factory.mktemp("camera"), "admin", "right-1") as camera:
        yield camera


def test_a_camera_is_found_by_its_port_and_its_stream_by_its_path(camera):
    found = find((camera.port,), lambda: [LOOPBACK], 0.1)
    assert Found("127.0.0.1", (camera.port,)) in found
    source = f"rtsp://127.0.0.1:{camera.port}/stream1"
    assert find_streams("127.0.0.1", camera.port, "admin", "right-1") == Streams("found", source)
    for user, password in (("admin", "wrong-1"), ("", "")):
        assert find_streams("127.0.0.1", camera.port, user, password) == Streams("login")
    assert find_streams("127.0.0.1", free_port(), "admin", "right-1") == Streams("silent")


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"RTSP/1.0 abc\r\n\r\n", b"\x00" * 20_000])
def test_what_speaks_no_rtsp_is_no_camera(said):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            line, _ = server.accept()
            with line:
                line.recv(100)
                line.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        assert find_streams("127.0.0.1", server.getsockname()[1], "", "").state == "silent"
        thread.join()


def md5(text):
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def test_digest_is_what_a_camera_reckons():
    """RFC 2069, 2.1.2, which cameras that name no quality of protection go by."""
    heads = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            line, _ = server.accept()
            with line:
                line.recv(4096)
                line.sendall(b'RTSP/1.0 401 no\r\nWWW-Authenticate: Digest realm="r", nonce="n"\r\n\r\n')
                heads.append(line.recv(4096).decode())
                line.sendall(b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        port = server.getsockname()[1]
        found = find_streams("127.0.0.1", port, "u", "p", (("/a", ""),))
        thread.join()
    assert found.state == "found"
    who, what = (md5(text) for text in ("u:r:p", f"DESCRIBE:rtsp://127.0.0.1:{port}/a"))
    wanted = md5(f"{who}:n:{what}")
    assert f'response="{wanted}"' in heads[0]


def query(name, kind=1):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack("!HHHHHH", 7, 0, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)


def test_a_name_is_asked_for_and_answered():
    packet = query("CityEye-abc.local")
    assert mdns.questions(packet) == [("cityeye-abc.local", 1)]
    answer = mdns.answer("cityeye-abc.local", ["10.0.0.7"])
    assert answer.endswith(socket.inet_aton("10.0.0.7"))
    assert mdns.questions(answer) == [], "answers are not answered"
    assert mdns.questions(query("a.local")[:-3]) == []
    assert mdns.questions(struct.pack("!HHHHHH", 7, 0, 1, 0, 0, 0) + b"\xc0\x0c") == [], "a name in a circle"


def test_the_responder_answers_a_resolver():
    port = free_port()
    responder = mdns.Responder("cityeye-abc.local", port)
    responder.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.settimeout(0.2)

        def asked():
            line.sendto(query("cityeye-abc.local"), ("127.0.0.1", port))
            try:
                return line.recv(9000)
            except TimeoutError:
                return None

        answer = wait_for(asked, "it answers")
        line.sendto(query("cityeye-xyz.local"), ("127.0.0.1", port))
        with pytest.raises(TimeoutError):
            line.recv(9000)
    responder.close()
    assert answer[:2] == b"\0\x07"
