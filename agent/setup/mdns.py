"""Answers for `cityeye-NAME.local` on the local network (RFC 6762), with this box's IPv4 addresses; nothing else."""

import contextlib
import logging
import socket
import struct
import threading
from typing import Final

from agent.box.network import addresses

log = logging.getLogger(__name__)

GROUP: Final = "224.0.0.251"
PORT: Final = 5353
TTL_S: Final = 120
ANSWERS: Final = 0x80
A_RECORD: Final = struct.pack("!HHIH", 1, 0x8001, TTL_S, 4)
"""Type A, class IN with the bit that flushes caches."""


def asks(packet: bytes, name: str) -> bool:
    """Whether a packet is a query in which a label occurs; what it asks of it does not matter: there is one answer."""
    label = bytes([len(name)]) + name.encode()
    return len(packet) > 12 and not packet[2] & ANSWERS and label in packet.lower()


def answer(name: str, own: list[str]) -> bytes:
    """A response that says which addresses `NAME.local` has."""
    record = bytes([len(name)]) + name.encode() + b"\5local\0" + A_RECORD
    return struct.pack("!6H", 0, 0x8400, 0, len(own), 0, 0) + b"".join(record + socket.inet_aton(one) for one in own)


class Responder(threading.Thread):
    """Answers until closed; a network that does not let it is a line in the log."""

    def __init__(self, name: str, port: int = PORT) -> None:
        super().__init__(name="mdns", daemon=True)
        self._name, self._to = name, (GROUP, port)
        self._line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def run(self) -> None:
        """Say once where the box is, then answer."""
        line = self._line
        try:
            line.settimeout(5)
            for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):  # Avahi may run as well
                line.setsockopt(socket.SOL_SOCKET, option, 1)
            line.bind(("", self._to[1]))
            line.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
            while True:
                self._join()
                self._say()
                with contextlib.suppress(TimeoutError):
                    while True:
                        if asks(line.recv(9000), self._name):
                            self._say()
        except OSError as fault:
            if line.fileno() >= 0:
                log.warning("set-up: nobody answers for %s (%s); use the address instead", self._name, fault)

    def _join(self) -> None:
        """Hear each network, also one that came later."""
        for one in addresses():
            member = socket.inet_aton(GROUP) + socket.inet_aton(one.address)
            with contextlib.suppress(OSError):  # it is a member already, or this network has no multicast
                self._line.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)

    def _say(self) -> None:
        with contextlib.suppress(OSError):  # it is asked again
            self._line.sendto(answer(self._name, [one.address for one in addresses()]), self._to)

    def close(self) -> None:
        """End it."""
        self._line.close()
