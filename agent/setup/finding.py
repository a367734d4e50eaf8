"""Cameras on the local network: who answers to ONVIF's WS-Discovery, where RTSP is spoken, at which path.

What answers is anybody's: each reply is bounded, and what makes no sense is left out.
"""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import unquote, urlsplit
from uuid import uuid4
from xml.etree import ElementTree as ET

import av
from av.error import FFmpegError, HTTPClientError, HTTPForbiddenError, HTTPUnauthorizedError

from agent.box.network import Address, addresses
from agent.camera import onvif
from agent.camera.examination import answers
from agent.camera.source import Source

GROUP: Final = ("239.255.255.250", 3702)
LISTEN_S: Final = 3.0
MOST: Final = 64
PORTS: Final = (554, 8554)
CONNECT_S: Final = 0.6
QUICK: Final = {"rtsp_transport": "tcp", "analyzeduration": "0", "probesize": "32"}
"""What a stream holds is for the test to find out."""
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
    ("/live", ""),
    ("/onvif1", "/onvif2"),
    ("/", ""),
)
"""Of main stream and sub-stream, by common makers."""
SERVICE: Final = re.compile(r"http://[\d.]+(:\d{1,5})?/[\w./-]{0,200}", re.ASCII)
_D: Final = "http://schemas.xmlsoap.org/ws/2005/04/discovery"
_PROBE: Final = (
    '<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope" xmlns:dn="http://www.onvif.org/ver10/network/wsdl"'
    f' xmlns:w="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:d="{_D}"><e:Header>'
    "<w:MessageID>uuid:{id}</w:MessageID><w:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</w:To>"
    f"<w:Action>{_D}/Probe</w:Action></e:Header>"
    "<e:Body><d:Probe><d:Types>dn:NetworkVideoTransmitter</d:Types></d:Probe></e:Body></e:Envelope>"
)


@dataclass(frozen=True)
class Found:
    """A device that may be a camera; `ports`: where RTSP is spoken; `service`: where it speaks ONVIF, as it says."""

    host: str
    ports: tuple[int, ...] = ()
    name: str = ""
    onvif: bool = False
    service: str = ""


def read_reply(packet: bytes) -> list[Found]:
    """Cameras of one reply to WS-Discovery; empty for what is none."""
    if len(packet) > MOST_BYTES or b"<!DOCTYPE" in packet or b"<!ENTITY" in packet:
        return []
    try:
        root = ET.fromstring(packet)  # noqa: S314 - bounded, and no entities
    except (ET.ParseError, ValueError, LookupError):
        return []
    found = []
    for match in root.iter(f"{{{_D}}}ProbeMatch"):
        told = [(_host(one), one) for one in (match.findtext(f"{{{_D}}}XAddrs") or "").split()]
        name = _name(match.findtext(f"{{{_D}}}Scopes") or "")
        found += [Found(host, (), name, onvif=True, service=_service(one)) for host, one in told if host][:1]
    return found


def _host(address: str) -> str:
    with contextlib.suppress(ValueError, OSError):  # cameras also tell their link-local IPv6
        return socket.inet_ntoa(socket.inet_pton(socket.AF_INET, urlsplit(address).hostname or ""))
    return ""


def _service(address: str) -> str:
    return address if SERVICE.fullmatch(address) else ""


def _name(scopes: str) -> str:
    parts = [unquote(found[1]) for found in re.finditer(r"/(?:name|hardware)/(\S+)", scopes)]
    return "".join(one for one in " ".join(dict.fromkeys(parts)) if one.isprintable())[:60]


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
                    found |= {camera.host: camera for camera in read_reply(line.recv(65535)) if len(found) < MOST}
    return list(found.values())


def find(
    ports: Sequence[int] = PORTS, networks: Callable[[], list[Address]] = addresses, listen_s: float = LISTEN_S
) -> list[Found]:
    """Look for cameras on the networks of this box, both ways at a time."""
    own, told = networks(), list[Found]()
    listener = threading.Thread(target=lambda: told.extend(discover(own, listen_s=listen_s)))
    listener.start()
    hosts = {str(host) for one in own for host in one.searched.hosts()} - {one.address for one in own}
    listening = scan(hosts, ports)
    listener.join()
    devices = {one.host: one for one in told}
    listening |= scan(devices.keys() - hosts, ports)  # of a network that this one reaches
    found = [
        replace(devices.get(host, Found(host)), ports=listening.get(host, ()))
        for host in devices.keys() | listening.keys()
    ]
    return sorted(found, key=lambda one: socket.inet_aton(one.host))[:MOST]


def scan(hosts: Iterable[str], ports: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """At which addresses something listens at which of the ports."""

    def listens(pair: tuple[str, int]) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(pair, CONNECT_S):
            return True
        return False

    pairs = [(host, port) for host in hosts for port in ports]
    found: dict[str, tuple[int, ...]] = {}
    with ThreadPoolExecutor(64) as workers:
        for (host, port), good in zip(pairs, workers.map(listens, pairs), strict=True):
            if good:
                found[host] = (*found.get(host, ()), port)
    return found


@dataclass(frozen=True)
class Streams:
    """What was come to: `found`, `login` (user or password are wrong), `nothing`, or `silent` at `source`."""

    state: str
    source: str = ""
    substream: str | None = None


def find_streams(host: str, port: int, user: str, password: str, service: str = "") -> Streams:
    """Ask the camera by ONVIF, at `service` or where most have it; where it tells none, try common makers' paths."""
    services = [service] if service else [onvif.service_at(host, at) for at in onvif.WEB_PORTS if answers(host, at)]
    own = next(filter(None, (onvif.streams(one, user, password) for one in services)), None)
    if own is not None and (state := _try(own[0], user, password)) != "nothing":
        second = own[1] if state == "found" and own[1:] and _try(own[1], user, password) == "found" else None
        return Streams(state, own[0], second)
    base = f"rtsp://{host}:{port}"
    for main, sub in PATHS:
        state = _try(base + main, user, password)
        if state == "found":
            second = base + sub if sub and _try(base + sub, user, password) == "found" else None
            return Streams(state, base + main, second)
        if state != "nothing":  # a camera locks out who tries often, and most ask for the login whatever the path
            return Streams(state, base + main)
    return Streams("nothing")


def _try(address: str, user: str, password: str) -> str:
    source = Source("", "network", address, 1.0, user=user or None, password=password)
    try:
        av.open(source.url, options=QUICK, timeout=(ANSWER_S, ANSWER_S)).close()
    except (HTTPUnauthorizedError, HTTPForbiddenError):
        return "login"
    except HTTPClientError:
        return "nothing"
    except (FFmpegError, OSError, ValueError):
        return "silent"
    return "found"
