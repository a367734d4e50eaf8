"""Answers for `cityeye-NAME.local` on the local network (RFC 6762), with this box's IPv4 addresses; nothing else."""

import contextlib
import logging
import socket
import struct
import threading
from typing import Final

from agent.setup.network import addresses

log = logging.getLogger(__name__)

GROUP: Final = "224.0.0.251"
PORT: Final = 5353
TTL_S: Final = 120
A, ANY, IN, FLUSH = 1, 255, 1, 0x8000
MOST_QUESTIONS: Final = 32


def questions(packet: bytes) -> list[tuple[str, int]]:
    """Names (lower case) and types that a query asks for; empty for what is none. Never raises."""
    try:
        _, flags, count = struct.unpack_from("!HHH", packet)
        if flags & 0x8000:
            return []
        at, asked = 12, []
        for _ in range(min(count, MOST_QUESTIONS)):
            name, at = _name(packet, at)
            kind, _class = struct.unpack_from("!HH", packet, at)
            at += 4
            asked.append((name, kind))
    except (struct.error, IndexError, ValueError):
        return []
    return asked


def _name(packet: bytes, at: int) -> tuple[str, int]:
    labels: list[str] = []
    end = None
    for _ in range(64):  # pointers may go in circles
        size = packet[at]
        if size >= 0xC0:
            end = end or at + 2
            at = (size & 0x3F) << 8 | packet[at + 1]
        elif size:
            labels.append(packet[at + 1 : at + 1 + size].decode("ascii", "replace"))
            at += 1 + size
        else:
            return ".".join(labels).lower(), end or at + 1
    raise ValueError("a name that does not end")


def answer(host: str, own: list[str], to: int | None = None) -> bytes:
    """A response that says which addresses a host has.

    Args:
        host: `NAME.local`.
        own: IPv4 addresses.
        to: id of the query of a plain resolver, which asks from another port than mDNS's (RFC 6762, 6.7).
    """
    name = b"".join(bytes([len(part)]) + part.encode() for part in host.split(".")) + b"\0"
    plain = to is not None
    question = name + struct.pack("!HH", A, IN) if plain else b""
    head = struct.pack("!HHIH", A, IN if plain else IN | FLUSH, 10 if plain else TTL_S, 4)
    records = b"".join(name + head + socket.inet_aton(address) for address in own)
    return struct.pack("!HHHHHH", to or 0, 0x8400, int(plain), len(own), 0, 0) + question + records


class Responder(threading.Thread):
    """Answers until closed; a network that does not let it is a line in the log.

    Args:
        host: `NAME.local`.
        port: another than mDNS's for a test.
    """

    def __init__(self, host: str, port: int = PORT) -> None:
        super().__init__(name="mdns", daemon=True)
        self._host, self._port = host, port
        self._line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._closing = threading.Event()

    def run(self) -> None:
        """Say once where the box is, then answer."""
        line = self._line
        try:
            line.settimeout(1.0)
            for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):  # Avahi may run as well
                line.setsockopt(socket.SOL_SOCKET, option, 1)
            line.bind(("", self._port))
            line.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
            self._join()
            self._send(answer(self._host, [one.address for one in addresses()]), (GROUP, self._port))
        except OSError as fault:
            log.warning("set-up: %s cannot be answered for (%s); use the address instead", self._host, fault)
            return
        while not self._closing.is_set():
            try:
                packet, sender = line.recvfrom(9000)
            except TimeoutError:
                self._join()
                continue
            except OSError:
                return
            if any(name == self._host and kind in (A, ANY) for name, kind in questions(packet)):
                legacy = sender[1] != self._port
                own = [one.address for one in addresses()]
                number = struct.unpack_from("!H", packet)[0] if legacy else None
                self._send(answer(self._host, own, number), sender if legacy else (GROUP, self._port))

    def _join(self) -> None:
        """Hear each network, also one that came later."""
        for one in addresses():
            member = socket.inet_aton(GROUP) + socket.inet_aton(one.address)
            with contextlib.suppress(OSError):  # it is a member already, or this network has no multicast
                self._line.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)

    def _send(self, packet: bytes, to: tuple[str, int]) -> None:
        try:
            self._line.sendto(packet, to)
        except OSError as fault:
            log.debug("mdns: %s", fault)

    def close(self) -> None:
        """End it."""
        self._closing.set()
        self._line.close()
