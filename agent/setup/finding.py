"""Cameras on the local network: who answers to ONVIF's WS-Discovery, where RTSP is spoken, at which path.

What answers is anybody's: each reply is bounded, and what makes no sense is left out.
"""

import base64
import contextlib
import hashlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit
from uuid import uuid4
from xml.etree import ElementTree as ET

from agent.setup.network import Address, addresses

GROUP: Final = ("239.255.255.250", 3702)
LISTEN_S: Final = 3.0
MOST: Final = 64
"""Cameras that are listed."""
PORTS: Final = (554, 8554)
CONNECT_S: Final = 0.6
WORKERS: Final = 64
ANSWER_S: Final = 4.0
MOST_BYTES: Final = 16 * 1024
PATHS: Final = (
    ("/Streaming/Channels/101", "/Streaming/Channels/102"),  # Hikvision
    ("/cam/realmonitor?channel=1&subtype=0", "/cam/realmonitor?channel=1&subtype=1"),  # Dahua
    ("/media/video1", "/media/video2"),  # Uniview
    ("/stream1", "/stream2"),  # TP-Link, and many others
    ("/h264Preview_01_main", "/h264Preview_01_sub"),  # Reolink
    ("/ch0_0.h264", "/ch0_1.h264"),
    ("/11", "/12"),
    ("/axis-media/media.amp", ""),
    ("/live/main", "/live/sub"),
    ("/live", ""),
    ("/onvif1", "/onvif2"),
    ("/", ""),
)
"""Of the main stream and of the sub-stream, by common makers; none: the same address serves both."""
_PROBE: Final = (
    '<?xml version="1.0" encoding="utf-8"?><e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"'
    ' xmlns:w="http://schemas.xmlsoap.org/ws/2004/08/addressing"'
    ' xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" xmlns:dn="http://www.onvif.org/ver10/network/wsdl">'
    "<e:Header><w:MessageID>uuid:{id}</w:MessageID>"
    "<w:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</w:To>"
    "<w:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</w:Action></e:Header>"
    "<e:Body><d:Probe><d:Types>dn:NetworkVideoTransmitter</d:Types></d:Probe></e:Body></e:Envelope>"
)


@dataclass(frozen=True)
class Found:
    """One device that may be a camera.

    Args:
        host: its address.
        ports: where RTSP is spoken; empty: nowhere, though ONVIF answers.
        name: what it calls itself.
        onvif: whether it answered to WS-Discovery.
    """

    host: str
    ports: tuple[int, ...] = ()
    name: str = ""
    onvif: bool = False


def read_reply(packet: bytes) -> list[Found]:
    """Cameras of one reply to WS-Discovery; empty for what is none. Never raises."""
    if len(packet) > MOST_BYTES or b"<!DOCTYPE" in packet or b"<!ENTITY" in packet:
        return []
    try:
        root = ET.fromstring(packet)  # noqa: S314 - bounded, and no entities
    except (ET.ParseError, ValueError, LookupError):
        return []
    found = []
    for match in root.iter():
        if not match.tag.endswith("}ProbeMatch"):
            continue
        texts = {child.tag.rpartition("}")[2]: child.text or "" for child in match}
        for address in texts.get("XAddrs", "").split():
            host = _host(address)
            if host:
                found.append(Found(host, name=_scope_name(texts.get("Scopes", "")), onvif=True))
                break
    return found


def _host(address: str) -> str | None:
    try:
        host = urlsplit(address).hostname or ""
        socket.inet_aton(host if host.count(".") == 3 else "")
    except (ValueError, OSError):
        return None  # cameras also tell their link-local IPv6
    return host


def _scope_name(scopes: str) -> str:
    parts = [
        unquote(scope.partition(f"/{part}/")[2], errors="replace")
        for part in ("name", "hardware")
        for scope in scopes.split()
        if f"/{part}/" in scope
    ]
    text = " ".join(dict.fromkeys(part for part in parts if part))
    return "".join(one for one in text if one.isprintable())[:60]


def discover(networks: Sequence[Address], group: tuple[str, int] = GROUP, listen_s: float = LISTEN_S) -> list[Found]:
    """Ask each network who is a camera, and listen for a while."""
    found: dict[str, Found] = {}
    with contextlib.ExitStack() as stack:
        lines = []
        for one in networks:
            with contextlib.suppress(OSError):  # a network that has no multicast
                line = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                line.bind((one.address, 0))
                line.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(one.address))
                line.settimeout(0.1)
                line.sendto(_PROBE.format(id=uuid4()).encode(), group)
                lines.append(line)
        until_s = time.monotonic() + listen_s
        while lines and time.monotonic() < until_s:
            for line in lines:
                with contextlib.suppress(OSError):
                    for camera in read_reply(line.recv(65535)):
                        if len(found) < MOST:
                            found.setdefault(camera.host, camera)
    return list(found.values())


def find(
    ports: Sequence[int] = PORTS,
    networks: Callable[[], list[Address]] = addresses,
    listen_s: float = LISTEN_S,
) -> list[Found]:
    """Look for cameras on the networks of this box, both ways at a time."""
    own = networks()
    hosts = dict.fromkeys(str(host) for one in own for host in one.searched.hosts())
    for one in own:
        hosts.pop(one.address, None)
    told: list[Found] = []
    listener = threading.Thread(target=lambda: told.extend(discover(own, listen_s=listen_s)))
    listener.start()
    open_ports = scan(hosts, ports)
    listener.join()
    devices = {one.host: one for one in told}
    for host in devices.keys() - hosts.keys():
        open_ports |= scan([host], ports)  # a camera of another network that this one reaches
    found = [
        Found(host, open_ports.get(host, ()), one.name if one else "", onvif=one is not None)
        for host in (*devices, *(host for host in open_ports if host not in devices))
        for one in (devices.get(host),)
    ]
    return sorted(found, key=lambda one: socket.inet_aton(one.host))[:MOST]


def scan(hosts: Iterable[str], ports: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """At which addresses something listens at some of the ports."""

    def listens(host: str, port: int) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((host, port), CONNECT_S):
            return True
        return False

    pairs = [(host, port) for host in hosts for port in ports]
    found: dict[str, tuple[int, ...]] = {}
    with ThreadPoolExecutor(WORKERS) as workers:
        for (host, port), good in zip(pairs, workers.map(lambda pair: listens(*pair), pairs), strict=True):
            if good:
                found[host] = (*found.get(host, ()), port)
    return found


@dataclass(frozen=True)
class Streams:
    """What the paths of a device came to.

    Args:
        state: `found`, `login` (it wants another user or password), `nothing` (none of the paths) or `silent`.
        source: URL of its main stream, without user and password.
        substream: of its sub-stream, where there is one.
    """

    state: str
    source: str = ""
    substream: str | None = None


def find_streams(host: str, port: int, user: str, password: str, paths: Sequence[tuple[str, str]] = PATHS) -> Streams:
    """Try the paths of common makers, in turn; some cameras answer to any path, so the first one that serves is it."""
    base, state = f"rtsp://{host}:{port}", "nothing"
    for main, sub in paths:
        status = describe(base + main, user, password)
        if status == 200:
            second = base + sub if sub and describe(base + sub, user, password) == 200 else None
            return Streams("found", base + main, second)
        if status is None:
            return Streams("silent")
        if status in (401, 403):
            state = "login"
            # a camera locks whoever tries a wrong password often; most ask for it whatever the path
            break
    return Streams(state)


def describe(url: str, user: str, password: str) -> int | None:
    """Status of a DESCRIBE (RFC 2326), with the login where that is asked for; None where nobody speaks RTSP."""
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 554), ANSWER_S) as line:
            line.settimeout(ANSWER_S)
            status, head = _asked(line, url, 1, "")
            wants = re.findall(r"(?im)^www-authenticate:\s*(digest|basic)\b(.*)$", head)
            if status != 401 or not user or not wants:
                return status
            wants.sort(reverse=True)  # digest before basic
            status, _ = _asked(line, url, 2, _login(url, user, password, *wants[0]))
            return status
    except (OSError, ValueError):
        return None


def _asked(line: socket.socket, url: str, number: int, login: str) -> tuple[int, str]:
    authorization = f"Authorization: {login}\r\n" if login else ""
    request = f"DESCRIBE {url} RTSP/1.0\r\nCSeq: {number}\r\nAccept: application/sdp\r\n{authorization}\r\n"
    line.sendall(request.encode("utf-8"))
    got = b""
    while b"\r\n\r\n" not in got and len(got) < MOST_BYTES:
        part = line.recv(4096)
        if not part:
            break
        got += part
    head, _, body = got.partition(b"\r\n\r\n")
    text = head.decode("latin-1")
    found = re.match(r"RTSP/\d\.\d (\d{3})", text)
    if found is None:
        raise ValueError("no RTSP")
    length = re.search(r"(?im)^content-length:\s*(\d{1,5})\s*$", text)
    left = min(int(length[1]) if length else 0, MOST_BYTES) - len(body)
    while left > 0 and (part := line.recv(min(4096, left))):
        left -= len(part)
    return int(found[1]), text


def _login(url: str, user: str, password: str, kind: str, rest: str) -> str:
    if kind.lower() == "basic":
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    told = dict(re.findall(r'(\w+)="([^"]*)"', rest))
    realm, nonce = told.get("realm", ""), told.get("nonce", "")

    def md5(text: str) -> str:
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()  # what RTSP's digest is made of

    response = md5(f"{md5(f'{user}:{realm}:{password}')}:{nonce}:{md5(f'DESCRIBE:{url}')}")
    return f'Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{url}", response="{response}"'
